"""The commands of a page, run as a reader would: in a shell, on the lab, in a clone of the repository.

A block ``console`` has commands after ``$ ``, and what they print; ``…`` stands for anything. A block ``yaml`` that
begins with ``# <path>`` is a file. Names of examples stand for what the lab has.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```(console|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.yaml)\n")
SECONDS = 240.0


@dataclass(frozen=True)
class Command:
    """One command line, and the lines that the page shows below it."""

    line: str
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """A page, with names of examples replaced by those of the lab."""

    text: str

    def section(self, heading: str) -> list[Command]:
        """Return the commands below a heading of the second level."""
        _, mark, rest = self.text.partition(f"\n## {heading}\n")
        assert mark, f"the page has no section {heading}"
        return [
            command
            for kind, block in blocks(rest.partition("\n## ")[0])
            if kind == "console"
            for command in read(block)
        ]

    def files(self) -> dict[str, str]:
        """Return the files that the page shows, by their paths."""
        found = {}
        for kind, block in blocks(self.text):
            if kind == "yaml" and (named := FILE.match(block)):
                found[named[1]] = block[named.end() :]
        return found


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield each block with its kind."""
    for match in BLOCK.finditer(text):
        yield match[1], match[2]


def read(block: str) -> Iterator[Command]:
    """Yield the commands of a block; a backslash at the end of a line continues it."""
    line, shown = "", list[str]()
    for found in block.replace("\\\n", " ").splitlines():
        if found.startswith("$ "):
            if line:
                yield Command(line, tuple(shown))
            line, shown = found[2:], []
        elif found:
            shown.append(found)
    if line:
        yield Command(line, tuple(shown))


def open_page(path: Path, names: Mapping[str, str]) -> Page:
    """Return a page with each of ``names`` (a regular expression) replaced."""
    text = path.read_text(encoding="utf-8")
    for pattern, replacement in names.items():
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return Page(text)


@dataclass(frozen=True)
class Shell:
    """Where the commands run: a folder, and what they find there."""

    folder: Path
    environ: Mapping[str, str]

    def run(self, commands: list[Command]) -> None:
        """Run commands in their order. Raises AssertionError for one that fails, or prints otherwise than the page."""
        for command in commands:
            done = subprocess.run(
                ["bash", "-ec", command.line],
                cwd=self.folder,
                env=dict(self.environ),
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            print(f"$ {command.line}\n{done.stdout}{done.stderr}")
            assert done.returncode == 0, f"$ {command.line}\n{done.stdout}{done.stderr}"
            printed = [line.rstrip() for line in done.stdout.splitlines() if line.strip()]
            assert not command.shown or matches(command.shown, printed), f"$ {command.line}: {printed}"


def matches(shown: tuple[str, ...], printed: list[str]) -> bool:
    """Return whether the page shows what was printed."""
    pattern = ".*".join(re.escape(part) for part in "\n".join(shown).split("…"))
    return re.fullmatch(pattern, "\n".join(printed), re.DOTALL) is not None


def shell(folder: Path, programs: Mapping[str, Path], kubeconfig: Path) -> Shell:
    """Return a shell in ``folder`` that finds ``programs`` by their names, and talks to one cluster."""
    own = folder / "bin"
    own.mkdir(parents=True)
    for name, path in programs.items():
        (own / name).symlink_to(path)
    author = {"GIT_AUTHOR_NAME": "Alex", "GIT_AUTHOR_EMAIL": "alex@example.com"}
    committer = {"GIT_COMMITTER_NAME": "Alex", "GIT_COMMITTER_EMAIL": "alex@example.com"}
    environ = {
        "PATH": f"{own}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "KUBECONFIG": str(kubeconfig),
        "GIT_CONFIG_NOSYSTEM": "1",
        **author,
        **committer,
    }
    work = folder / "work"
    work.mkdir()
    return Shell(work, environ)
