"""Plugins that are tried: what each is, and the verdict that it gets. docs/try.md is made of the same table."""
# One plugin a line, as long as it takes.
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pluginrelease.core.trial.records import TrialStep
from tests import odd_lives, odd_modules, wasm_modules
from tests.odd_modules import Does
from tests.wasm_modules import answering

SDKS = Path(__file__).parents[1] / "fixtures" / "sdk"
OTHER = answering("other")
ONE, TWO = {"version": 1}, {"version": 2}
PASSED, CRASHED, HUNG, REFUSED, UNCLEAR = (
    "TrialPassed",
    "TrialCrashed",
    "TrialHung",
    "TrialRefused",
    "TrialInconclusive",
)
START, LOAD, REQUESTS, BACK, REMOVE = TrialStep
CLUSTER = "outbound|8080||auth.example"


@dataclass(frozen=True)
class Tried:
    """One plugin. ``step``: where the verdict is decided. ``words``: of Envoy or of the trial, in the message.

    ``stable``: what ran before, "" for nothing. ``settings`` are those of `tests.trials.run.run`.
    """

    name: str
    what: str
    verdict: str
    make: Callable[[], bytes]
    step: TrialStep | None = None
    words: str = ""
    config: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def over(stable: bytes, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The settings for a trial over a stable revision."""
    return {"stable": stable, "stable_config": config}


def importing(*names: str) -> dict[str, Any]:
    """The settings for a plugin that imports host functions whose answer depends on the gateway."""
    return {"more": {"place_calls": names}}


KILLERS: tuple[Tried, ...] = (
    Tried("kills-at-load", "a start section that logs", CRASHED, wasm_modules.kills_at_load, LOAD, "SIGSEGV"),
    Tried("aborts-at-configure", "`proxy_grpc_call` with an empty service, at configure", CRASHED, wasm_modules.aborts_at_configure, LOAD, "SIGABRT"),
    Tried("grpc-stream", "`proxy_grpc_stream` with an empty service, at configure", CRASHED, odd_lives.streaming_to_nobody, LOAD, "SIGABRT"),
    Tried("aborts-in-place", "the same, and it replaces a good plugin", CRASHED, wasm_modules.aborts_at_configure, LOAD, "SIGABRT", settings=over(OTHER)),
    Tried("tag-exported", "an exported exception tag", CRASHED, lambda: odd_modules.named("tag-exported"), LOAD, "SIGTRAP"),
    Tried("no-memory-later", "no memory, and a host call at each request", CRASHED, lambda: odd_modules.named("no-memory-later"), REQUESTS, "SIGSEGV"),
    Tried("context-create-traps", "`proxy_on_context_create` traps", CRASHED, lambda: odd_modules.named("context-create-traps"), LOAD, "proxy_on_context_create"),
    Tried("allocator-traps", "the allocator traps while the plugin is configured", CRASHED, lambda: odd_modules.named("allocator-traps"), LOAD, "proxy_on_memory_allocate"),
    Tried("traps-on-request", "`proxy_on_request_headers` traps", CRASHED, lambda: wasm_modules.answering_until_trapped("a", ":path"), REQUESTS, "proxy_on_request_headers"),
    Tried("hangs-at-configure", "`proxy_on_configure` loops", HUNG, wasm_modules.hangs_at_configure, LOAD),
    Tried("start-loops", "the start section loops", HUNG, lambda: odd_modules.named("start-loops"), LOAD),
    Tried("hangs-on-request", "`proxy_on_request_headers` loops", HUNG, lambda: wasm_modules.answering_until_hung("a", ":path"), REQUESTS),
    Tried("done-loops", "`proxy_on_done` loops, and the plugin is removed", HUNG, odd_lives.looping_when_done, REMOVE),
    Tried("done-loops-replaced", "the same, and another revision replaces it", HUNG, odd_lives.looping_when_done, BACK, settings=over(OTHER)),
    Tried("eats-memory", "`proxy_on_configure` fills 600 MiB, and 400 MiB are allowed", CRASHED, lambda: wasm_modules.eats_memory(600), LOAD, "400", settings={"mebibytes": 400}),
    Tried("configured-twice", "refuses to be configured a second time in one VM; only the configuration is new", REFUSED, lambda: wasm_modules.configured_once("a"), LOAD, "thread-local", ONE, over(wasm_modules.configured_once("a"), TWO)),
    Tried("refuses-config", "`proxy_on_configure` returns false", REFUSED, lambda: answering("a", refuses_configuration=True), LOAD, "Failed to configure", ONE),
    Tried("missing-import", "imports a function that Envoy does not have", REFUSED, wasm_modules.missing_import, LOAD, "missing import"),
    Tried("unknown-abi", "an unknown ABI version", REFUSED, wasm_modules.unknown_abi, LOAD, "Missing or unknown Proxy-Wasm ABI version"),
    Tried("vm-start-traps", "`proxy_on_vm_start` traps", REFUSED, wasm_modules.traps_at_start, LOAD, "Failed to start"),
)  # fmt: skip
PLACES: tuple[Tried, ...] = (
    Tried("calls-a-cluster", "sends a request to a cluster at configure; a stub has its name", PASSED, lambda: odd_lives.calling(CLUSTER), settings={"stubs": (CLUSTER,), **importing("proxy_http_call")}),
    Tried("calls-no-cluster", "the same without the stub", UNCLEAR, lambda: odd_lives.calling(CLUSTER), LOAD, "proxy_http_call (BadArgument)", settings=importing("proxy_http_call")),
    Tried("needs-a-property", "starts only with a property of the gateway's node", UNCLEAR, lambda: wasm_modules.licensed("a"), LOAD, "proxy_get_property (NotFound)", settings=importing("proxy_get_property")),
    Tried("refuses-for-itself", "refuses its configuration without such a call", REFUSED, lambda: answering("a", refuses_configuration=True), LOAD, config=ONE, settings=importing("proxy_get_property")),
    Tried("needs-it-as-before", "needs such a property, and the stable revision is refused here, too", UNCLEAR, lambda: wasm_modules.licensed("a"), LOAD, settings={**over(wasm_modules.licensed("b")), **importing("proxy_get_property")}),
    Tried("needs-it-at-last", "needs such a property, and the stable revision loads here", REFUSED, lambda: wasm_modules.licensed("a"), LOAD, settings={**over(OTHER), **importing("proxy_get_property")}),
)  # fmt: skip
GOOD: tuple[Tried, ...] = (
    Tried("answering", "adds a header", PASSED, lambda: answering("a")),
    Tried("in-place", "adds another header than the stable revision", PASSED, lambda: answering("a"), settings=over(OTHER)),
    Tried("same-bytes", "only the configuration is new", PASSED, lambda: answering("a"), config=ONE, settings=over(answering("a"), TWO)),
    Tried("fail-open", "adds a header, `FAIL_OPEN`", PASSED, lambda: answering("a"), settings={"fail": "FAIL_OPEN"}),
    Tried("fail-reload", "adds a header, `FAIL_RELOAD`", PASSED, lambda: answering("a"), settings={"fail": "FAIL_RELOAD"}),
    Tried("rust", "Rust SDK", PASSED, lambda: (SDKS / "rust.wasm").read_bytes()),
    Tried("cpp", "C++ SDK", PASSED, lambda: (SDKS / "cpp.wasm").read_bytes()),
    Tried("assemblyscript", "AssemblyScript SDK", PASSED, lambda: (SDKS / "assemblyscript.wasm").read_bytes()),
)  # fmt: skip
# modules that are odd and still load; the heavy ones need more memory and time than a trial here has
ODD: tuple[Tried, ...] = tuple(
    Tried(odd.name, odd.what, PASSED, odd.make, settings=over(OTHER))
    for odd in odd_modules.ALL
    if odd.does is Does.LOADS and not odd.heavy
)
ALL: tuple[Tried, ...] = (*KILLERS, *PLACES, *GOOD)
