"""The compatibility rules against the real thing: what `compat.judge` says of a module, a real Envoy does with it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from pluginrelease.core import compat, wasm
from pluginrelease.core.compat import functions
from pluginrelease.core.errors import Refused
from tests import wasm_modules as made
from tests.edges import plain_envoy

ENVOY = "1.40.0"  # what the lab's pin is; a newer one may take more
CODES = {"i": b"\x7f", "I": b"\x7e"}

Function = tuple[str, str]  # a name and its types: ("proxy_log", "iii:i")
BASIS: tuple[Function, ...] = (("_initialize", ":"), ("proxy_on_memory_allocate", "i:i"))


def signature(types: str) -> bytes:
    params, _, results = types.partition(":")
    return b"\x60" + made.vector(CODES[c] for c in params) + made.vector(CODES[c] for c in results)


def composed(
    imports: Iterable[Function] = (), exports: Iterable[Function] = BASIS, abis: Iterable[str] = ("0_2_1",)
) -> bytes:
    """A valid module with these imports (``module.name``) and exports; its functions return 1, which is yes."""
    wanted = [(*path.split(".", 1), types) for path, types in imports]
    given = [*((f"proxy_abi_version_{abi}", ":") for abi in abis), *exports]
    every = [types for _, _, types in wanted] + [types for _, types in given]
    exported = [
        made.name(name) + bytes([made.KIND_FUNCTION]) + made.leb(len(wanted) + number)
        for number, (name, _) in enumerate(given)
    ]
    bodies = [made.body({"": b"", "i": b"\x41\x01", "I": b"\x42\x01"}[types.partition(":")[2]]) for _, types in given]
    return made.module(
        made.section(made.TYPE, made.vector(signature(types) for types in every)),
        made.section(
            made.IMPORT,
            made.vector(
                made.name(module) + made.name(name) + bytes([made.KIND_FUNCTION]) + made.leb(number)
                for number, (module, name, _) in enumerate(wanted)
            ),
        ),
        made.section(made.FUNCTION, made.vector(made.leb(len(wanted) + number) for number in range(len(given)))),
        made.section(made.MEMORY, made.vector([b"\0\x01"])),
        made.section(made.EXPORT, made.vector([*exported, made.name("memory") + bytes([made.KIND_MEMORY, 0])])),
        made.section(made.CODE, made.vector(bodies)),
    )


def short(kind: wasm.FunctionType) -> str:
    letters = {"i32": "i", "i64": "I"}
    return "".join(letters[c] for c in kind.params) + ":" + "".join(letters[c] for c in kind.results)


def every_import(abi: str) -> list[Function]:
    """All that the tables say Envoy has for an ABI version."""
    env = functions.PROXY | functions.BY_ABI[abi] | functions.OTHER
    listed = [(f"env.{name}", short(known.type)) for name, known in env.items()]
    for module in functions.WASI_MODULES:
        listed += [(f"{module}.{name}", short(known.type)) for name, known in functions.WASI.items()]
    return listed


def every_callback(abi: str) -> list[Function]:
    """All exports whose types the tables know."""
    headers = functions.HEADERS_01 if abi == "0_1_0" else functions.HEADERS_02
    known = functions.CALLBACKS | headers
    return [*BASIS, *((name, short(one.type)) for name, one in known.items())]


def taken_by_envoy(module: bytes, folder: Path) -> tuple[bool, str]:
    """Whether Envoy loads the module, and its log."""
    file = folder / "plugin.wasm"
    file.write_bytes(module)
    return plain_envoy.takes(folder, plain_envoy.PlainPlugin(file))


@pytest.mark.parametrize("abi", compat.ACCEPTED_ABIS)
def test_the_tables_are_envoys(abi: str, tmp_path: Path) -> None:
    """A module that imports every function in the tables, and exports every callback, with their types: Envoy has
    them all, just so."""
    module = composed(every_import(abi), every_callback(abi), [abi])
    taken, log = taken_by_envoy(module, tmp_path)
    assert taken, log
    assert compat.judge(wasm.read(module), {ENVOY}).state is compat.CompatibilityState.COMPATIBLE


GOOD = [
    ("nothing but the least", composed()),
    ("two ABI versions, the unknown one first", composed(abis=["0_2_100", "0_2_0"])),
    ("malloc in place of Proxy-Wasm's allocator", composed(exports=[("_initialize", ":"), ("malloc", "i:i")])),
    ("neither _initialize nor _start", composed(exports=BASIS[1:])),
    ("a harmless _start", composed(exports=[("_start", ":"), BASIS[1]])),
    ("an export that nobody knows", composed(exports=[*BASIS, ("something", "IIII:I")])),
    ("a main that is not looked at, of another type", composed(exports=[("_start", ":"), BASIS[1], ("main", ":i")])),
    (
        "a callback of the newer ABI in the oldest",
        composed(exports=[*BASIS, ("proxy_on_foreign_function", ":")], abis=["0_1_0"]),
    ),
]
BAD = [
    ("no ABI version", composed(abis=[])),
    ("an unknown one", composed(abis=["0_2_100"])),
    ("no allocator", composed(exports=BASIS[:1])),
    ("an allocator of another type", composed(exports=[BASIS[0], ("malloc", "ii:i")])),
    ("a wrong malloc beside a good allocator", composed(exports=[*BASIS, ("malloc", "ii:i")])),
    ("_initialize with a result", composed(exports=[("_initialize", ":i"), BASIS[1]])),
    ("_start with a result", composed(exports=[("_start", ":i"), BASIS[1]])),
    ("main of another type in a reactor", composed(exports=[*BASIS, ("main", ":i")])),
    ("headers as in the oldest ABI", composed(exports=[*BASIS, ("proxy_on_request_headers", "ii:i")])),
    ("a log with a result", composed(exports=[*BASIS, ("proxy_on_log", "i:i")])),
    ("an import that nobody has", composed([("env.proxy_not_of_this_world", ":i")])),
    ("an import of Higress's", composed([("env.proxy_redis_call", "iiiiii:i")])),
    ("an import of another ABI version", composed([("env.proxy_continue_request", ":i")])),
    ("an import of another type", composed([("env.proxy_log", "ii:i")])),
    ("a WASI import of another type", composed([("wasi_snapshot_preview1.fd_write", "iii:i")])),
    ("a WASI function from elsewhere", composed([("wasi_snapshot_preview2.fd_write", "iiii:i")])),
]  # fmt: skip


@pytest.mark.parametrize(("what", "module"), GOOD, ids=[what for what, _ in GOOD])
def test_what_envoy_takes(what: str, module: bytes, tmp_path: Path) -> None:
    """No false alarm: what Envoy loads is not refused."""
    taken, log = taken_by_envoy(module, tmp_path)
    assert taken, log
    answer = compat.judge(wasm.read(module), {ENVOY})
    assert answer.state is compat.CompatibilityState.COMPATIBLE, answer.sentence()


@pytest.mark.parametrize(("what", "module"), BAD, ids=[what for what, _ in BAD])
def test_what_envoy_refuses(what: str, module: bytes, tmp_path: Path) -> None:
    """No miss: what Envoy does not load is refused beforehand, and the words before the first colon are in its log."""
    taken, log = taken_by_envoy(module, tmp_path)
    assert not taken, log
    answer = compat.judge(wasm.read(module), {ENVOY})
    assert answer.state is compat.CompatibilityState.INCOMPATIBLE
    assert answer.message.partition(":")[0] in log


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9, 0.99])
def test_truncated_modules(keep: float, tmp_path: Path) -> None:
    """A module cut anywhere is refused by both."""
    whole = composed(every_import("0_2_1"))
    cut = whole[: int(len(whole) * keep)]
    with pytest.raises(Refused) as refused:
        wasm.read(cut)
    assert refused.value.reason == "TruncatedModule"
    assert not taken_by_envoy(cut, tmp_path)[0]
