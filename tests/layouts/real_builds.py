"""Modules that the SDKs' own tools have built."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from pluginrelease.cli import main
from pluginrelease.edges.toolchain import builder
from pluginrelease_lab.host import HTTPAnswer
from tests.layouts.book import LayoutCase, LayoutOutcome
from tests.layouts.workshop import Workshop

LOADED, REJECTED = LayoutOutcome.LOADED, LayoutOutcome.REJECTED
FIXTURES, EXAMPLES = Path(__file__).parents[1] / "fixtures", Path(__file__).parents[2] / "examples"
BUILT, AS = "a real build", "assemblyscript"


def built_in(name: str) -> Callable[[Workshop], None]:
    """One of tests/fixtures/sdk."""
    return lambda shop: shop.ours("push", str(FIXTURES / "sdk" / f"{name}.wasm"), shop.target)


def go(shop: Workshop) -> None:
    shop.ours("push", str(compiled(shop, FIXTURES / "plugins" / "versioned")), shop.target)


def go_command(shop: Workshop) -> None:
    """Without -buildmode=c-shared."""
    plain = shop.folder / "command.wasm"
    shop.go_build(FIXTURES / "plugins" / "versioned", plain)
    shop.ours("push", str(plain), shop.target)


def higress_go(shop: Workshop) -> None:
    shop.ours("push", str(compiled(shop, EXAMPLES / "my-plugin")), shop.target)


def higress_go_before(shop: Workshop) -> None:
    """The same source with the SDK's older release."""
    source = shop.folder / "source"
    shutil.copytree(EXAMPLES / "my-plugin", source)
    shutil.copytree(FIXTURES / "plugins" / "my-plugin-1.0.6", source, dirs_exist_ok=True)
    shop.ours("push", str(compiled(shop, source)), shop.target)


def higress_adapted(shop: Workshop) -> None:
    adapted = shop.folder / "adapted.wasm"
    ended = CliRunner().invoke(main, ["adapt", str(compiled(shop, EXAMPLES / "my-plugin")), "--output", str(adapted)])
    assert ended.exit_code == 0, ended.output
    shop.ours("push", str(adapted), shop.target)


def compiled(shop: Workshop, source: Path) -> Path:
    return builder.compile_go(source, shop.folder / "built.wasm", deadline=300).path


def says(value: str) -> Callable[[HTTPAnswer], bool]:
    return lambda answer: answer.headers.get("x-plugin") == value


def has_version(answer: HTTPAnswer) -> bool:
    return answer.headers.get("x-plugin-version") == "table"


def is_mocked(answer: HTTPAnswer) -> bool:
    return answer.body == b"hello world"


CASES = [
    LayoutCase(
        "sdk-go", "proxy-wasm-go-sdk, plain Go", BUILT, LOADED, go, shows=has_version, config={"version": "table"}
    ),
    LayoutCase("sdk-go-command", "the same without -buildmode=c-shared", BUILT, REJECTED, go_command, "NotAReactor"),
    LayoutCase("sdk-rust", "proxy-wasm-rust-sdk 0.2.1, Rust 1.63", BUILT, LOADED, built_in("rust"), shows=says("rust")),
    LayoutCase("sdk-cpp", "proxy-wasm-cpp-sdk, clang 14", BUILT, LOADED, built_in("cpp"), shows=says("cpp")),
    LayoutCase("sdk-as", "proxy-runtime 0.1.8, AssemblyScript 0.14", BUILT, LOADED, built_in(AS), shows=says(AS)),
    LayoutCase("sdk-higress", "Higress's wasm-go v1.1.1", BUILT, REJECTED, higress_go, "UnknownABI"),
    LayoutCase("sdk-higress-before", "Higress's wasm-go v1.0.6", BUILT, REJECTED, higress_go_before, "UnknownABI"),
    LayoutCase(
        "sdk-adapted", "wasm-go v1.1.1, after `pluginrelease adapt`", BUILT, LOADED, higress_adapted,
        shows=is_mocked, config={"mockEnable": True},
    ),
]  # fmt: skip
