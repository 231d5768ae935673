"""Build a plugin's Go source tree to a WebAssembly module, with an installed Go.

Plain Go since 1.24 writes what Envoy loads: a reactor module (``GOOS=wasip1 GOARCH=wasm -buildmode=c-shared``, see
https://go.dev/blog/wasmexport). cgo and other toolchains are off, and `go generate` does not run: a build compiles the
author's code and runs none of it. Debug names stay: they are 2 % of the file, and Envoy prints them when a plugin
panics.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pluginrelease.api.reasons import Reason
from pluginrelease.core import wasm
from pluginrelease.core.errors import Refused, Transient
from pluginrelease.edges.toolchain import golang

MINIMUM_GO = (1, 24)  # it introduced -buildmode=c-shared for wasip1
SIZE_LIMIT = 256 * 1024 * 1024  # limit of Istio's agent (istio pkg/wasm/imagefetcher.go)
SOURCE_LIMIT = 4 * 1024 * 1024
SHOWN_LINES = 20
TARGET = {"GOOS": "wasip1", "GOARCH": "wasm"}
SDK = "github.com/proxy-wasm/proxy-wasm-go-sdk"


@dataclass(frozen=True)
class Built:
    """A module on disk: path, SHA-256 in hex, size in bytes, build time in seconds, and the Go that made it."""

    path: Path
    sha256: str
    size: int
    seconds: float
    go: str


def compile_go(
    source: Path,
    output: Path,
    *,
    deadline: float = 300.0,
    environ: Mapping[str, str] = os.environ,
    tick: Callable[[float, int], None] | None = None,
) -> Built:
    """Compile the main package of ``source`` to ``output``, which is replaced in one step by a whole module.

    Raises `Refused`: SourceMissing, NoGoModule, NotMainPackage, SetUpInMain, CompileFailed (with the compiler's own
    lines), ModuleTooLarge, NotAPlugin, GoMissing; `Transient`: BuildTimeout.
    """
    folder = source.resolve()
    _check_tree(folder)
    compiler = golang.locate(MINIMUM_GO, environ.get("PATH"))
    settings = golang.environment(golang.cache_folder(environ), environ, **TARGET)
    _check_package(compiler, folder, settings, deadline)
    _check_set_up(folder)
    output.parent.mkdir(parents=True, exist_ok=True)
    # absolute, because the compiler runs in the source's folder (Python resolves it only from 3.12 on)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=output.parent.absolute()) as workplace:
        module = Path(workplace) / "plugin.wasm"
        seconds = _compile(compiler, folder, module, settings, deadline, tick)
        built = _measure(module, output, seconds, compiler.version)
        module.chmod(0o644)
        module.replace(output)
    return built


def _check_tree(folder: Path) -> None:
    if not folder.is_dir():
        raise Refused(Reason.SOURCE_MISSING, f"{folder} is not a folder", "Name the folder of the plugin's Go source.")
    if not any(folder.glob("*.go")):
        raise Refused(
            Reason.SOURCE_MISSING, f"{folder} has no Go file", "Name the folder that holds the plugin's main package."
        )
    if not any((parent / "go.mod").is_file() for parent in (folder, *folder.parents)):
        raise Refused(
            Reason.NO_GO_MODULE,
            f"{folder} has no go.mod, and no folder above it has one",
            f"Run `go mod init NAME`, then `go get {SDK}@latest` and `go mod tidy` there.",
        )


def _check_package(compiler: golang.Go, folder: Path, settings: Mapping[str, str], deadline: float) -> None:
    """Find mistakes that the compiler ignores or explains badly, before it runs for minutes."""
    run = _go([compiler.path, "list", "-e", "-json=Name", "."], folder, settings, deadline, None)
    package = _first_object(run.lines)
    if package.get("Name") not in (None, "", "main"):
        raise Refused(
            Reason.NOT_MAIN_PACKAGE,
            f"{folder} is package {package['Name']}, and a plugin is a main package",
            "Begin its files with `package main`, or name the folder that holds the main package.",
        )


def _check_set_up(folder: Path) -> None:
    """Refuse a plugin that registers itself in main, as for TinyGo: a reactor's main is never called."""
    for file in sorted(folder.glob("*.go")):
        if file.name.endswith("_test.go") or file.stat().st_size > SOURCE_LIMIT:
            continue
        text = re.sub(r"//[^\n]*", "", file.read_text(errors="replace"))
        body = re.search(r"^func main\(\) \{(.*?)^\}", text, re.MULTILINE | re.DOTALL)
        if body and (call := re.search(r"\bSet(?:VM|Plugin|Http|Tcp)Context\b|\bwrapper\.SetCtx\b", body[1])):
            raise Refused(
                Reason.SET_UP_IN_MAIN,
                f"{file.name} calls {call[0]} in main(), which is not run in a module that plain Go builds",
                "Move the call to `func init()` and leave `func main() {}` empty.",
            )


def _compile(
    compiler: golang.Go,
    folder: Path,
    module: Path,
    settings: Mapping[str, str],
    deadline: float,
    tick: Callable[[float, int], None] | None,
) -> float:
    flags = ["-trimpath", "-buildvcs=false", "-buildmode=c-shared", "-o", str(module)]
    run = _go([compiler.path, "build", *flags, "."], folder, settings, deadline, tick)
    if run.code or not module.is_file():
        lines = _quote_output(run.lines)
        raise Refused(Reason.COMPILE_FAILED, "The plugin does not compile:\n" + "\n".join(lines), _remedy(lines))
    return run.seconds


def _go(
    argv: Sequence[str | Path],
    folder: Path,
    settings: Mapping[str, str],
    deadline: float,
    tick: Callable[[float, int], None] | None,
) -> golang.Run:
    try:
        return golang.run(argv, folder=folder, environ=settings, deadline=deadline, tick=tick)
    except TimeoutError as late:
        raise Transient(
            Reason.BUILD_TIMEOUT, f"The build is {late}", "Give it more time; a first build fetches its modules too."
        ) from late


def _measure(module: Path, output: Path, seconds: float, version: str) -> Built:
    size = module.stat().st_size
    if size > SIZE_LIMIT:
        raise Refused(
            Reason.MODULE_TOO_LARGE,
            f"The module has {size} bytes, and gateways read {SIZE_LIMIT} at most",
            "Import less: `go list -deps .` shows what is in it.",
        )
    data = module.read_bytes()
    if not wasm.read(data).abis:
        raise Refused(
            Reason.NOT_A_PLUGIN,
            "It compiles, and the module exports no proxy_abi_version: it does not use a Proxy-Wasm SDK",
            f"Import {SDK}/proxywasm and set a context in init().",
        )
    return Built(output, hashlib.sha256(data).hexdigest(), size, seconds, version)


def _quote_output(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if line and not line.startswith(("go: downloading", "# "))][-SHOWN_LINES:]


_REMEDIES = (
    (
        r"no required module provides package|missing go\.sum entry|updates to go\.(mod|sum) needed",
        "Run `go mod tidy`.",
    ),
    (r"requires go >= ", "Install that Go, or lower the `go` line of go.mod."),
    (
        r"dial tcp|no such host|i/o timeout|connection refused|module lookup disabled",
        "Let this machine reach a Go module proxy (GOPROXY), or vendor the modules with `go mod vendor`.",
    ),
)


def _remedy(lines: Sequence[str]) -> str:
    text = "\n".join(lines)
    return next((say for seen, say in _REMEDIES if re.search(seen, text)), "Mend what the compiler names.")


def _first_object(lines: Sequence[str]) -> dict[str, Any]:
    text = "\n".join(lines)
    start = text.find("{")
    try:
        found, _ = json.JSONDecoder().raw_decode(text[start:]) if start >= 0 else ({}, 0)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
