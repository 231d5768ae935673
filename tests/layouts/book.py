"""What a row of the table is, what came of it, and when that is right: values, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pluginrelease_lab.host import HTTPAnswer
    from tests.layouts.workshop import Workshop


class LayoutOutcome(StrEnum):
    """What became of a WasmPlugin with FAIL_CLOSE that names an image."""

    LOADED = "loads"
    DENIED = "403 to everyone"
    """The agent could not fetch or read it, and put a filter in its place that denies everything."""
    REJECTED = "500 to everyone"
    """The agent read it, and Envoy refused it."""


@dataclass(frozen=True)
class LayoutCase:
    """One row: an image, and what has to come of it.

    ``make`` puts it into the registry under the row's own repository, tag ``1``. ``reason`` is what ``inspect`` says
    first, a word of docs/reasons.md; empty where it must call the image usable. ``shows`` tells by a gateway's answer
    that the plugin runs; by default that is the header ``x-plugin`` with the row's name. ``config`` is the plugin's.
    """

    name: str
    what: str
    source: str
    outcome: LayoutOutcome
    make: Callable[[Workshop], None]
    reason: str = ""
    shows: Callable[[HTTPAnswer], bool] | None = None
    config: dict[str, Any] | None = None


@dataclass(frozen=True)
class LayoutSeen:
    """What came of it. ``words`` is what the gateway said when it did not load; ``usable`` and ``reasons`` are what
    ``inspect`` had said, and ``layout`` what it had read."""

    outcome: LayoutOutcome | None
    words: str
    usable: bool
    reasons: tuple[str, ...]
    layout: str


@dataclass(frozen=True)
class LayoutRow:
    """One line of the table. ``wrong`` is empty when it is right."""

    case: LayoutCase
    seen: LayoutSeen | None
    wrong: str

    def cells(self) -> list[str]:
        """As the page has them."""
        seen = self.seen
        said = "-" if seen is None else f"usable, {seen.layout}" if seen.usable else ", ".join(seen.reasons)
        outcome = str(seen.outcome or "neither loads nor fails") if seen else "-"
        words = seen.words if seen and seen.words else ""
        return [self.case.what, self.case.source, said, outcome, words, f"WRONG: {self.wrong}" if self.wrong else ""]


def judge(case: LayoutCase, seen: LayoutSeen) -> LayoutRow:
    """Right is: the gateway did what the row says, and ``inspect`` had said just that before."""
    loaded = seen.outcome is LayoutOutcome.LOADED
    reasons = [
        *([f"wanted: {case.outcome}"] if seen.outcome is not case.outcome else []),
        *([f"inspect said {'usable' if seen.usable else 'refused'}"] if seen.usable is not loaded else []),
        *([f"wanted reason {case.reason or 'none'}"] if "".join(seen.reasons[:1]) != case.reason else []),
    ]
    return LayoutRow(case, seen, "; ".join(reasons))


def unrun(case: LayoutCase, why: str) -> LayoutRow:
    """A row that did not come to its end counts as wrong."""
    return LayoutRow(case, None, why)


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a page; a bar in a cell would end it."""
    lines = ([cell.replace("|", "\\|") for cell in row] for row in (headings, ["---"] * len(headings), *rows))
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in lines)
