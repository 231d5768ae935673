"""A module against a gateway's Envoy versions: refused in Envoy's words, told by name, never guessed."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from pluginrelease.api.reasons import Reason
from pluginrelease.controller import preflight
from pluginrelease.core import compat
from pluginrelease.core.compat import Compatibility, CompatibilityState, gateway_versions
from pluginrelease.core.errors import Refused
from pluginrelease.core.status import compatible
from pluginrelease.core.wasm import Export, ExternKind, Feature, FunctionType, Import, Module, StartSection

# what Envoy's log says
UNKNOWN_ABI = "Missing or unknown Proxy-Wasm ABI version"
IMPORT_MISMATCH = "import type mismatch: {}, want: {}, but host exports: {}"
BAD_SIGNATURE = "Bad function signature for: {}, want: {}, but the module exports: {}"
NO_MALLOC = "Wasm module is missing malloc function"


def signature(text: str) -> FunctionType:
    """``ii:i`` → two i32 in, one out; I is i64."""
    params, _, results = text.partition(":")
    letters = {"i": "i32", "I": "i64"}
    return FunctionType(tuple(letters[c] for c in params), tuple(letters[c] for c in results))


def function(name: str, types: str) -> Export:
    return Export(name, ExternKind.FUNCTION, signature(types))


def wanted(path: str, types: str) -> Import:
    module, _, name = path.partition(".")
    return Import(module, name, ExternKind.FUNCTION, signature(types))


MEMORY = Export("memory", ExternKind.MEMORY)
PLUGIN = Module(
    imports=(wanted("env.proxy_log", "iii:i"),),
    exports=(
        function("proxy_abi_version_0_2_1", ":"),
        function("_initialize", ":"),
        function("proxy_on_memory_allocate", "i:i"),
        MEMORY,
    ),
    custom_sections=(),
    toolchain="Go",
    toolchain_version="1.26.8",
    size=1000,
)


def exporting(*exports: Export) -> Module:
    return replace(PLUGIN, exports=(*PLUGIN.exports, *exports))


def importing(*imports: Import) -> Module:
    return replace(PLUGIN, imports=(*PLUGIN.imports, *imports))


def without(name: str) -> Module:
    return replace(PLUGIN, exports=tuple(export for export in PLUGIN.exports if export.name != name))


def in_rust(module: Module) -> Module:
    return replace(module, toolchain="Rust")


def announcing(*abis: str) -> Module:
    others = tuple(export for export in PLUGIN.exports if not export.name.startswith("proxy_abi"))
    return replace(PLUGIN, exports=(*(function(f"proxy_abi_version_{abi}", ":") for abi in abis), *others))


STAT = wanted("wasi_snapshot_preview1.path_filestat_get", "iiiii:i")
YIELD = wanted("wasi_snapshot_preview1.sched_yield", ":i")


@pytest.mark.parametrize(
    ("module", "versions", "state", "reason"),
    [
        (PLUGIN, {"1.40.0"}, CompatibilityState.COMPATIBLE, "Compatible"),
        (PLUGIN, {"1.20.0"}, CompatibilityState.COMPATIBLE, "Compatible"),
        (PLUGIN, {"1.41.0"}, CompatibilityState.COMPATIBLE, "Compatible"),
        (announcing("0_1_0"), {"1.40.0"}, CompatibilityState.COMPATIBLE, "Compatible"),
        (announcing("0_2_0"), {"1.40.0"}, CompatibilityState.COMPATIBLE, "Compatible"),
        (announcing("0_2_100", "0_2_1"), {"1.40.0"}, CompatibilityState.COMPATIBLE, "Compatible"),
        (announcing("0_2_100"), {"1.40.0"}, CompatibilityState.INCOMPATIBLE, "UnknownABI"),
        (announcing("9_9_9"), set(), CompatibilityState.INCOMPATIBLE, "UnknownABI"),
        (announcing(), {"1.40.0"}, CompatibilityState.INCOMPATIBLE, "UnknownABI"),
        (importing(STAT), {"1.40.0"}, CompatibilityState.COMPATIBLE, "Compatible"),
        (importing(STAT), {"1.39.0"}, CompatibilityState.COMPATIBLE, "Compatible"),
        (importing(STAT), {"1.38.2"}, CompatibilityState.INCOMPATIBLE, "MissingHostFunction"),
        (importing(STAT), {"1.40.0", "1.38.2"}, CompatibilityState.INCOMPATIBLE, "MissingHostFunction"),
        (importing(STAT), {"1.39.0-dev"}, CompatibilityState.UNKNOWN, "GatewayVersionUnknown"),
        (importing(STAT), {"1.38.1-dev"}, CompatibilityState.INCOMPATIBLE, "MissingHostFunction"),
        (importing(STAT), {"1.40.0-dev"}, CompatibilityState.COMPATIBLE, "Compatible"),
        (importing(YIELD), {"1.33.0"}, CompatibilityState.COMPATIBLE, "Compatible"),
        (importing(YIELD), {"1.32.9"}, CompatibilityState.INCOMPATIBLE, "MissingHostFunction"),
        (importing(STAT), set(), CompatibilityState.UNKNOWN, "GatewayVersionUnknown"),
        (importing(STAT), {"nightly"}, CompatibilityState.UNKNOWN, "GatewayVersionUnknown"),
        (importing(STAT), {"nightly", "1.38.0"}, CompatibilityState.INCOMPATIBLE, "MissingHostFunction"),
        (PLUGIN, set(), CompatibilityState.UNKNOWN, "GatewayVersionUnknown"),
        (importing(wanted("env.proxy_new", ":i")), {"1.40.0"}, CompatibilityState.INCOMPATIBLE, "MissingHostFunction"),
        (importing(wanted("env.proxy_new", ":i")), set(), CompatibilityState.INCOMPATIBLE, "MissingHostFunction"),
        (importing(wanted("env.proxy_new", ":i")), {"1.99.0"}, CompatibilityState.UNKNOWN, "GatewayVersionUnknown"),
        (
            importing(wanted("env.proxy_new", ":i")),
            {"1.99.0", "1.40.0"},
            CompatibilityState.INCOMPATIBLE,
            "MissingHostFunction",
        ),
        (
            importing(wanted("env.fd_write", "iiii:i")),
            {"1.40.0"},
            CompatibilityState.INCOMPATIBLE,
            "MissingHostFunction",
        ),
        (
            importing(wanted("wasi_unstable.fd_write", "iiii:i")),
            {"1.40.0"},
            CompatibilityState.COMPATIBLE,
            "Compatible",
        ),
        (
            importing(wanted("env.proxy_redis_call", "i:i")),
            {"1.40.0"},
            CompatibilityState.INCOMPATIBLE,
            "MissingHostFunction",
        ),
        (
            importing(wanted("env.proxy_continue_request", ":i")),
            {"1.40.0"},
            CompatibilityState.INCOMPATIBLE,
            "MissingHostFunction",
        ),
        (
            importing(Import("env", "base", ExternKind.GLOBAL)),
            {"1.40.0"},
            CompatibilityState.INCOMPATIBLE,
            "MissingHostFunction",
        ),
        (
            importing(Import("env", "memory", ExternKind.MEMORY)),
            {"1.40.0"},
            CompatibilityState.COMPATIBLE,
            "Compatible",
        ),
        (importing(wanted("env.proxy_done", "i:i")), {"1.40.0"}, CompatibilityState.INCOMPATIBLE, "ImportTypeMismatch"),
        (importing(wanted("env.proxy_done", "i:i")), set(), CompatibilityState.INCOMPATIBLE, "ImportTypeMismatch"),
        (exporting(function("malloc", "ii:i")), {"1.40.0"}, CompatibilityState.INCOMPATIBLE, "ExportTypeMismatch"),
        (exporting(function("proxy_on_log", "i:i")), {"1.40.0"}, CompatibilityState.INCOMPATIBLE, "ExportTypeMismatch"),
        (
            exporting(function("proxy_on_request_headers", "ii:i")),
            set(),
            CompatibilityState.INCOMPATIBLE,
            "ExportTypeMismatch",
        ),
        (
            exporting(function("proxy_on_request_headers", "iii:i")),
            {"1.40.0"},
            CompatibilityState.COMPATIBLE,
            "Compatible",
        ),
        (without("proxy_on_memory_allocate"), {"1.40.0"}, CompatibilityState.INCOMPATIBLE, "MissingAllocator"),
        (replace(without("_initialize"), toolchain="TinyGo"), {"1.40.0"}, CompatibilityState.COMPATIBLE, "Compatible"),
    ],
)
def test_judgement(module: Module, versions: set[str], state: CompatibilityState, reason: str) -> None:
    """The strictest version counts; what no Envoy takes is refused without a version, the rest is then Unknown."""
    answer = compat.judge(module, versions)
    assert (answer.state, answer.reason) == (state, reason), answer.sentence()
    assert answer.state is CompatibilityState.COMPATIBLE or answer.remedy, "whatever is not well says what to do"


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (announcing("0_2_100"), UNKNOWN_ABI),
        (importing(STAT), "missing import: wasi_snapshot_preview1.path_filestat_get: not in Envoy 1.38.0"),
        (
            importing(wanted("env.proxy_done", "i:i")),
            IMPORT_MISMATCH.format("env.proxy_done", "i32 -> i32", "void -> i32"),
        ),
        (
            exporting(function("malloc", "ii:i")),
            BAD_SIGNATURE.format("malloc", "i32 -> i32", "i32 i32 -> i32"),
        ),
        (without("proxy_on_memory_allocate"), NO_MALLOC),
    ],
)
def test_words(module: Module, words: str) -> None:
    """A refusal has the words that the gateway's log would have."""
    assert words in compat.judge(module, {"1.38.0"}).message


def test_missing_functions_are_named_with_the_version_that_has_them() -> None:
    """Who is refused learns which functions are missing and from which Envoy on they are there."""
    answer = compat.judge(importing(STAT, YIELD), {"1.38.0", "1.40.0"})
    assert answer.missing == ("wasi_snapshot_preview1.path_filestat_get",)
    assert "Envoy 1.39 and newer" in answer.message
    assert "1.25" in answer.remedy, "path_filestat_get came with Go 1.26"


def test_higress_functions_are_known_by_name() -> None:
    """A plugin made for Higress's own host functions is told so."""
    answer = compat.judge(importing(wanted("env.proxy_redis_call", "i:i")), {"1.40.0"})
    assert "Only Higress" in answer.remedy


def higress(text: str) -> tuple[compat.Host, ...]:
    return gateway_versions.read(f"higress@{text}").hosts


REDIS = wanted("env.proxy_redis_init", "iiiiiii:i")
HOSTS = wanted("env.proxy_get_upstream_hosts", "ii:i")


@pytest.mark.parametrize(
    ("module", "version", "state", "reason"),
    [
        (announcing("0_2_100"), "2.2", CompatibilityState.COMPATIBLE, "Compatible"),
        (announcing("0_2_100"), "2.0", CompatibilityState.INCOMPATIBLE, "GatewayTooOld"),
        (announcing("0_2_100"), "2.1.3", CompatibilityState.INCOMPATIBLE, "GatewayTooOld"),
        (announcing("0_2_100"), "2.1", CompatibilityState.UNKNOWN, "GatewayVersionUnknown"),
        (announcing("0_2_100"), "2.1.4", CompatibilityState.COMPATIBLE, "Compatible"),
        (in_rust(announcing("0_2_100")), "2.0", CompatibilityState.INCOMPATIBLE, "UnknownABI"),
        (in_rust(announcing("0_2_100")), "2.1.0", CompatibilityState.COMPATIBLE, "Compatible"),
        (announcing("0_2_1"), "2.2", CompatibilityState.COMPATIBLE, "Compatible"),
        (announcing("9_9_9"), "2.2", CompatibilityState.INCOMPATIBLE, "UnknownABI"),
        (in_rust(importing(YIELD)), "2.0.4", CompatibilityState.INCOMPATIBLE, "MissingHostFunction"),
        (importing(YIELD), "2.1", CompatibilityState.UNKNOWN, "GatewayVersionUnknown"),
        (importing(YIELD, STAT), "2.1.4", CompatibilityState.COMPATIBLE, "Compatible"),
        (importing(STAT), "2.2.1", CompatibilityState.COMPATIBLE, "Compatible"),
        (in_rust(importing(REDIS)), "2.0", CompatibilityState.COMPATIBLE, "Compatible"),
        (
            in_rust(importing(wanted("env.proxy_redis_init", "i:i"))),
            "2.0",
            CompatibilityState.INCOMPATIBLE,
            "ImportTypeMismatch",
        ),
        (importing(HOSTS), "2.1.4", CompatibilityState.UNKNOWN, "GatewayVersionUnknown"),
        (importing(HOSTS), "2.2", CompatibilityState.COMPATIBLE, "Compatible"),
        (importing(wanted("env.proxy_new", ":i")), "2.2", CompatibilityState.INCOMPATIBLE, "MissingHostFunction"),
    ],
)
def test_higress(module: Module, version: str, state: CompatibilityState, reason: str) -> None:
    """Higress has an ABI and functions of its own; what came within 2.1 cannot be told for a 2.1 of no patch number."""
    answer = compat.compare(module, higress(version))[0]
    assert (answer.state, answer.reason) == (state, reason), answer.sentence()


@pytest.mark.parametrize(
    ("image", "envoy", "release", "reason"),
    [
        ("hub.example.com/higress/gateway:2.1.4", None, (2, 1, 4), "as the chart has it"),
        ("gateway:v2.2.0-patched", None, (2, 2, 0), "somebody's own build of it"),
        ("gateway:2.2.1@sha256:" + "0" * 64, None, (2, 2, 1), "tag and digest"),
        ("localhost:5000/higress/gateway:2.0.7", None, (2, 0, 7), "a port is no tag"),
        ("gateway:2.1.4-rc.1", "1.27.7", (2, 1, 3), "a candidate comes before its release"),
        ("gateway:latest", "1.36.4", (2, 2, 0), "the Envoy of 2.2"),
        ("gateway@sha256:" + "0" * 64, "1.27.7", None, "the Envoy of 2.0 and of 2.1"),
        ("localhost:5000/gateway", None, None, "nothing tells"),
        ("", None, None, "no image"),
    ],
)
def test_higress_by_its_image(image: str, envoy: str | None, release: tuple[int, int, int] | None, reason: str) -> None:
    """Which Higress a gateway is of is told by its image's tag, or where that does not by its Envoy, or not at all."""
    assert compat.higress(image, envoy).release == release, reason


def test_the_oldest_higress_for_plain_go() -> None:
    """A Go module on an older Higress is refused in one sentence, with the versions that take it and what there is."""
    answer = compat.compare(announcing("0_2_100"), higress("2.0.7"))[0]
    assert all(version in answer.message for version in ("Higress 2.1.4", "MSE", "2.0.11", "Higress 2.0.7"))
    mixed = compat.judge_strictest(announcing("0_2_100"), (*higress("2.2.4"), *higress("2.1.1")), "Higress")
    assert mixed.reason == "GatewayTooOld", "the oldest pod counts"
    assert (
        compat.judge_strictest(announcing("0_2_100"), [compat.higress("", None)], "Higress").state
        is CompatibilityState.UNKNOWN
    )


def test_all_that_is_wrong_is_told() -> None:
    """Whoever inspects a module learns of every fault at once, a missing function after the others."""
    flawed = replace(
        importing(wanted("env.proxy_new", ":i")), exports=(function("proxy_abi_version_0_2_1", ":"), MEMORY)
    )
    assert [finding.reason for finding in compat.compare(flawed, ())] == ["MissingAllocator", "MissingHostFunction"]


def test_a_strangers_names_are_shown_short() -> None:
    """A condition stays readable whatever a module calls its functions."""
    answer = compat.judge(importing(wanted("env." + "\x1b" + "n" * 90_000, ":i")), {"1.40.0"})
    assert len(answer.sentence()) < 1000
    assert answer.sentence().isprintable()


@pytest.mark.parametrize("module", ["__wbindgen_placeholder__", "wbg", "__wbindgen_externref_xform__"])
def test_a_crate_for_a_browser(module: str) -> None:
    """A Rust plugin with a crate that is built for JavaScript learns which kind of crate to look for."""
    asked = replace(PLUGIN, imports=(Import(module, "__wbindgen_describe", ExternKind.FUNCTION, signature("i:")),))
    answer = compat.judge(asked, {"1.40.0"})
    assert answer.reason == "MissingHostFunction"
    assert "-i wasm-bindgen" in answer.remedy


def test_go_for_a_browser() -> None:
    """A module of GOOS=js is told so: it announces no ABI, and that alone helps nobody."""
    browser = replace(announcing(), imports=(wanted("gojs.runtime.wasmExit", "i:"),))
    assert "GOOS=js" in compat.judge(browser, ()).remedy


def test_go_command() -> None:
    """Go built without -buildmode=c-shared exits in its _start, which Envoy forbids."""
    command = replace(
        without("_initialize"), exports=(*without("_initialize").exports, function("_start", ":")), toolchain="Go"
    )
    answer = compat.judge(command, set())
    assert (answer.state, answer.reason) == (CompatibilityState.INCOMPATIBLE, "NotAReactor")
    assert "-buildmode=c-shared" in answer.remedy
    assert compat.judge(replace(command, toolchain="TinyGo"), {"1.40.0"}).state is CompatibilityState.COMPATIBLE


@pytest.mark.parametrize(
    ("text", "release", "development"),
    [
        ("1.40.0", (1, 40), False),
        ("v1.33.2", (1, 33), False),
        ("4ac1a5f5f2a9b0c4d3e2f1a0b9c8d7e6f5a4b3c2/1.40.0/Clean/RELEASE/BoringSSL", (1, 40), False),
        ("4ac1a5f5f2a9b0c4d3e2f1a0b9c8d7e6f5a4b3c2/1.33.3-dev/Clean/RELEASE/BoringSSL", (1, 33), False),
        ("4ac1a5f5f2a9b0c4d3e2f1a0b9c8d7e6f5a4b3c2/1.39.0-dev/Clean/RELEASE/BoringSSL", (1, 39), True),
        ("", None, False),
        ("latest", None, False),
    ],
)
def test_envoy_versions(text: str, release: tuple[int, int] | None, development: bool) -> None:
    """The version is read as /server_info gives it; a development build of x.y.0 comes before x.y."""
    read = compat.envoy(text)
    assert (read.release, read.development) == (release, development)


# --- what becomes of it when it is instantiated; the odd modules themselves are in test_odd_modules.py ---

GC = replace(PLUGIN, features=frozenset({Feature.GC}))
NATIVE = replace(PLUGIN, custom_sections=("producers", "wamr-aot.x86_64"), toolchain="Rust")


@pytest.mark.parametrize(
    ("gateway", "state", "warned", "reason"),
    [
        ("envoy@1.31", CompatibilityState.INCOMPATIBLE, False, "its V8 is 10.7"),
        ("envoy@1.32", CompatibilityState.COMPATIBLE, True, "10.7 or 12.9, by its patch release"),
        ("envoy@1.35", CompatibilityState.COMPATIBLE, True, "it was not tried"),
        ("envoy@1.36", CompatibilityState.COMPATIBLE, False, "13.8"),
        ("istio@1.27", CompatibilityState.COMPATIBLE, True, "Envoy 1.35"),
        ("istio@1.28", CompatibilityState.COMPATIBLE, False, "Envoy 1.36"),
        ("higress@2.1.4", CompatibilityState.COMPATIBLE, True, "an Envoy of 1.27 with a host of its own"),
        ("higress@2.2.0", CompatibilityState.COMPATIBLE, False, "an Envoy of 1.36"),
        ("istio@9.9", CompatibilityState.UNKNOWN, False, "nothing is known of it, and nothing is made up"),
    ],
)
def test_parts_of_the_language(gateway: str, state: CompatibilityState, warned: bool, reason: str) -> None:
    """What V8 surely lacks is refused, what depends on a patch release is a warning, and neither where it is there."""
    hosts = gateway_versions.read(gateway).hosts
    answer = compat.compare(GC, hosts)[0]
    assert answer.state is state, reason
    assert [finding.reason for finding in compat.find_warnings(GC, hosts)] == ["UnsupportedFeature"] * warned, reason
    if warned:
        assert str(hosts[0]) in str(compat.find_warnings(GC, hosts)[0])
    if state is CompatibilityState.INCOMPATIBLE:
        assert (answer.reason, "garbage collection" in answer.message) == ("UnsupportedFeature", True)


def test_parts_of_the_language_that_nobody_has() -> None:
    """What no known V8 takes is refused on every gateway, but for one that is newer than what was tried."""
    wide = replace(PLUGIN, features=frozenset({Feature.WIDE_ARITHMETIC}))
    assert compat.judge(wide, ()).reason == "UnsupportedFeature"
    assert compat.judge(wide, {"1.40.0"}).reason == "UnsupportedFeature"
    assert compat.judge(wide, {"1.99.0"}).state is CompatibilityState.COMPATIBLE


@pytest.mark.parametrize(
    ("provider", "allowed", "state", "warned"),
    [
        ("Higress", False, CompatibilityState.INCOMPATIBLE, False),
        ("Higress", True, CompatibilityState.UNKNOWN, True),
        ("Istio", False, CompatibilityState.UNKNOWN, True),
        ("Istio", True, CompatibilityState.UNKNOWN, True),
    ],
)
def test_native_code(provider: str, allowed: bool, state: CompatibilityState, warned: bool) -> None:
    """Code that Higress would run outside of the sandbox is refused there unless the owner of the gateways allows it;
    wherever it is not refused it is said."""
    answer = compat.judge_strictest(NATIVE, (), provider, allow_native=allowed)
    assert (answer.state, answer.reason == "NativeCode") == (state, not warned)
    said = compat.find_warnings(NATIVE, (), provider, allow_native=allowed)
    assert [finding.reason for finding in said] == ["NativeCode"] * warned


def test_native_code_on_the_desk() -> None:
    """A Higress that is named by its version is one that runs native code."""
    assert compat.compare(NATIVE, higress("2.2"))[0].reason == "NativeCode"


def test_the_start_section() -> None:
    """A certain call is told from one that some way leads to; what could not be read whole counts as the worst; and
    functions that do no harm are known by name."""
    log, growth = wanted("env.proxy_log", "iii:i"), wanted("env.emscripten_notify_memory_growth", "i:")

    def starting(**facts: Any) -> compat.Compatibility:
        return compat.judge(replace(PLUGIN, imports=(log, growth), start=StartSection(**facts)), {"1.40.0"})

    certain = starting(certain=(log,), possible=(log,)).message
    possible = starting(possible=(log, growth)).message
    unread = starting(whole=False).message
    assert "env.proxy_log" in certain
    assert "env.proxy_log" in possible
    assert len({certain, possible, unread}) == 3
    assert "exportStart" in starting(whole=False).remedy
    assert starting(certain=(growth,), possible=(growth,)).state is CompatibilityState.COMPATIBLE
    harmless = replace(PLUGIN, imports=(growth,), start=StartSection(possible=(growth,), whole=False))
    assert compat.judge(harmless, {"1.40.0"}).state is CompatibilityState.COMPATIBLE, "whatever it reaches does no harm"


def test_a_killer_is_named_first() -> None:
    """Of several faults the one that would take the gateway down comes before the ones that Envoy refuses."""
    both = replace(importing(wanted("env.proxy_new", ":i")), start=StartSection(certain=(PLUGIN.imports[0],)))
    assert [finding.reason for finding in compat.compare(both, ())] == ["StartCallsHost", "MissingHostFunction"]


# --- the condition ---

LOADS = Compatibility(CompatibilityState.COMPATIBLE, Reason.COMPATIBLE, "all is there")
DOUBT = Compatibility(CompatibilityState.UNKNOWN, Reason.GATEWAY_VERSION_UNKNOWN, "nothing is known", "Look.")
ODD = (compat.Warned(Reason.HUGE_FUNCTION, "it is huge"), compat.Warned(Reason.LARGE_TABLE, "it is large"))


@pytest.mark.parametrize(
    ("answer", "odd", "untold", "status", "reason", "message"),
    [
        (LOADS, (), "", "True", "Compatible", "all is there."),
        (LOADS, ODD, "", "True", "HugeFunction", "all is there. HugeFunction: it is huge. LargeTable: it is large."),
        (LOADS, (), "who knows", "Unknown", "RegistryTrustUnknown", "who knows. all is there."),
        (DOUBT, ODD[:1], "", "Unknown", "GatewayVersionUnknown", "nothing is known. Look. HugeFunction: it is huge."),
        (DOUBT, (), "who knows", "Unknown", "GatewayVersionUnknown", "nothing is known. Look. who knows"),
    ],
)
def test_the_condition(
    answer: Compatibility, odd: tuple[compat.Warned, ...], untold: str, status: str, reason: str, message: str
) -> None:
    """What is odd of a module that loads leaves the condition True and is its reason; what is not known comes first."""
    found = compatible.describe_compatible(answer, odd, untold)
    assert (found.status, found.reason, found.message) == (status, reason, message)


@pytest.mark.parametrize("allowed", [False, True])
def test_the_owner_of_the_gateways_allows_native_code(allowed: bool) -> None:
    """The operator's own setting decides whether a module with native code is written to Higress; no field does."""
    entry: Any = SimpleNamespace(
        release=SimpleNamespace(spec=SimpleNamespace(provider="Higress")),
        mesh=SimpleNamespace(hosts=lambda before: higress("2.2.0"), find_warnings=lambda placement, before: ()),
        aimed=SimpleNamespace(placement=None),
    )
    found: Any = SimpleNamespace(
        artifact=SimpleNamespace(module=NATIVE, reference=SimpleNamespace(registry="r")), challenges=()
    )
    if not allowed:
        with pytest.raises(Refused) as refused:
            preflight.judge_compatibility(entry, found, (), "", allowed=False)
        assert refused.value.reason == "NativeCode"
        return
    finding = preflight.judge_compatibility(entry, found, (), "", allowed=True)
    assert (finding.status, finding.reason) == ("True", "NativeCode")
