"""Compare the inspection of a module with hashing the same bytes: ``python -m bench.inspection [FILE.wasm …]``.

Without files it builds the plugin of the other parts, as for a release with Go.
"""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from bench import figures
from bench.figures import Figure
from pluginrelease.core import compat, wasm
from pluginrelease.edges.toolchain import builder

PLUGIN = Path(__file__).parent.parent / "tests" / "fixtures" / "plugins" / "versioned"
NAME = "inspection-to-hashing"
AIM = 40.0  # milliseconds per megabyte: all code is read, so this is slower than hashing in hardware
TURNS = 30


def measure(content: bytes, turns: int = TURNS) -> Figure:
    """Measure inspection (parse and compare with a gateway) and SHA-256 of the same bytes in turns, in milliseconds."""
    pairs = [(timed(lambda: inspect(content)), timed(lambda: hash_of(content))) for _ in range(turns)]
    return Figure(NAME, tuple(ours for ours, _ in pairs), tuple(other for _, other in pairs), "ms")


def inspect(content: bytes) -> None:
    compat.judge(wasm.read(content), {"1.40.0"})


def hash_of(content: bytes) -> None:
    hashlib.sha256(content).digest()


def timed(act: Callable[[], None]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def built() -> bytes:
    """Return the module of the plugin that the other parts use."""
    with tempfile.TemporaryDirectory(prefix="pluginrelease-bench-") as folder:
        return builder.compile_go(PLUGIN, Path(folder, "plugin.wasm"), deadline=600).path.read_bytes()


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(files: Sequence[Path]) -> None:
    """Print one row per module, and the time per megabyte."""
    modules = [(file.name, file.read_bytes()) for file in files] or [("the bench's plugin", built())]
    for name, content in modules:
        figure = measure(content)
        click.echo(f"{name}, {len(content)} bytes\n{figures.table([figure])}")
        per_megabyte = statistics.median(figure.ours) / len(content) * 1e6
        click.echo(f"the aim is {AIM} ms a megabyte: {per_megabyte:.1f}")


if __name__ == "__main__":
    main()
