"""A module for Higress becomes one for stock Envoy: one name changes, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from pluginrelease.cli.adapt import adapt as command
from pluginrelease.core import wasm
from pluginrelease.core.compat import abi_rewrite
from pluginrelease.core.errors import Refused
from pluginrelease.core.wasm import Module
from tests import wasm_modules as made

HIGRESS = made.plugin("0_2_100")
FOREIGN = made.plugin("0_2_100", imports=[("env", "proxy_redis_init"), ("env", "proxy_redis_call")])


def announced(module: Module, abi: str) -> Module:
    """The module with its only ABI version called otherwise."""
    prefix = wasm.ABI_PREFIX
    exports = (
        replace(export, name=prefix + abi) if export.name.startswith(prefix) else export for export in module.exports
    )
    return replace(module, exports=tuple(exports), size=module.size - 2)


def with_exports(bytes_more: int) -> bytes:
    """A module whose export section is so many bytes longer: a section's length is one byte below 128, then two."""
    return made.composed(
        [],
        [
            ("proxy_abi_version_0_2_100", 0, 0, b""),
            ("proxy_on_memory_allocate", 1, 1, b"\x41\0"),
            ("x" * bytes_more, 0, 0, b""),
        ],
    )


@pytest.mark.parametrize("more", [1, *range(50, 80), 200, 20_000])
def test_the_announcement_changes_and_nothing_else(more: int) -> None:
    """Imports, exports with their types, code and every other section are what they were, at any length."""
    module = with_exports(more)
    adapted = abi_rewrite.adapt(module).content
    assert wasm.read(adapted) == replace(announced(wasm.read(module), "0_2_1"), size=len(adapted))
    others = [whole for number, _, whole in made.sections(module) if number != made.EXPORT]
    assert [whole for number, _, whole in made.sections(adapted) if number != made.EXPORT] == others


def test_lengths_that_a_compiler_has_padded_are_read() -> None:
    """LLVM writes each length in five bytes, to fill it in later."""
    padded = b"".join(
        whole if number != made.EXPORT else bytes([number]) + padded_leb(len(payload)) + payload
        for number, payload, whole in made.sections(HIGRESS)
    )
    assert abi_rewrite.adapt(made.HEADER + padded).content == abi_rewrite.adapt(HIGRESS).content


def padded_leb(number: int) -> bytes:
    return bytes([*((number >> shift & 0x7F) | 0x80 for shift in (0, 7, 14, 21)), number >> 28])


def test_functions_that_only_higress_has_are_named() -> None:
    """The preview would not load, so it is not made; the words are those of the gateway that would refuse it."""
    with pytest.raises(Refused) as refused:
        abi_rewrite.adapt(FOREIGN)
    assert refused.value.reason == "MissingHostFunction"
    assert "env.proxy_redis_init, env.proxy_redis_call" in refused.value.message
    assert "Higress" in refused.value.remedy


@pytest.mark.parametrize("abi", ["0_2_0", "0_2_1", "9_9_9"])
def test_what_is_not_for_higress_alone_is_left_alone(abi: str) -> None:
    """A module that other gateways take, or none, needs no copy."""
    with pytest.raises(Refused, match=abi.replace("_", r"\.")) as refused:
        abi_rewrite.adapt(made.plugin(abi))
    assert refused.value.reason == "NothingToAdapt"


def test_a_module_that_announces_both_needs_no_copy() -> None:
    """Envoy takes the one that it knows; two exports of one name would be no module."""
    both = [(f"proxy_abi_version_{abi}", 0, 0, b"") for abi in ("0_2_100", "0_2_1")]
    with pytest.raises(Refused) as refused:
        abi_rewrite.adapt(made.composed([], [*both, ("proxy_on_memory_allocate", 1, 1, b"\x41\0")]))
    assert refused.value.reason == "NothingToAdapt"


def test_what_is_no_module_is_refused_as_everywhere() -> None:
    """By what reads modules."""
    with pytest.raises(Refused) as refused:
        abi_rewrite.adapt(b"\x1f\x8b")
    assert refused.value.reason == "NotWasm"


def test_what_may_be_different_is_told_where_it_can_be() -> None:
    """Stopping at the headers for a plugin that sees headers, names at run time for one that calls by name."""
    [restarts] = abi_rewrite.adapt(HIGRESS).differences
    assert "VM" in restarts
    headers = made.rename_abi(made.answering("x"), "0_2_100")
    assert any("StopIteration" in difference for difference in abi_rewrite.adapt(headers).differences)


def test_the_command_says_what_it_made_and_what_is_different(tmp_path: Path) -> None:
    """The copy lies beside its original, which stays; warnings go to stderr."""
    file = tmp_path / "plugin.wasm"
    file.write_bytes(HIGRESS)
    done = CliRunner().invoke(command, [str(file)])
    assert done.exit_code == 0, done.output
    assert wasm.read((tmp_path / "plugin.adapted.wasm").read_bytes()).abi == "0_2_1"
    assert file.read_bytes() == HIGRESS
    assert done.stderr.startswith("warning: ")
    assert {"0.2.1", "0.2.100"} <= set(done.stdout.split())


@pytest.mark.parametrize(
    ("content", "reason"),
    [(FOREIGN, "MissingHostFunction"), (made.plugin(), "NothingToAdapt"), (None, "TargetNotFound")],
)
def test_the_command_refuses_with_code_1_and_writes_nothing(tmp_path: Path, content: bytes | None, reason: str) -> None:
    """One line: the reason, what was found, the remedy."""
    file = tmp_path / "plugin.wasm"
    if content is not None:
        file.write_bytes(content)
    done = CliRunner().invoke(command, [str(file)])
    assert (done.exit_code, done.stderr.startswith(f"Error: {reason}: ")) == (1, True), done.output
    assert not (tmp_path / "plugin.adapted.wasm").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Not a traceback."""
    file = tmp_path / "plugin.wasm"
    file.write_bytes(HIGRESS)
    done = CliRunner().invoke(command, [str(file), "-o", str(tmp_path / "none" / "out.wasm")])
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: TargetNotWritable: ")
