"""The rows of `pass_cases.txt`: what a pass does, by the state of the release, the command, and what is true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PassCase:
    """``truths``: each of these is true of the entry in turn, "*" for all; ``does``: the actions of the pass then."""

    state: str
    command: str
    truths: tuple[str, ...]
    does: str
    reason: str


def read_cases() -> Iterator[PassCase]:
    """Yield the rows."""
    state = command = ""
    truths: tuple[str, ...] = ()
    for line in Path(__file__).with_suffix(".txt").read_text().splitlines():
        if line.startswith("["):
            state, command = line.strip("[]").split(", ")
        elif line.startswith("    "):
            does, reason = line.strip().split(" -- ")
            yield PassCase(state, command, truths, "" if does == "nothing" else does, reason)
        elif line and not line.startswith("#"):
            truths = tuple(line.split(", "))


CASES = [*read_cases()]
