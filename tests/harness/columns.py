"""The columns of docs/states.md that say what a tool makes of each state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.states import STATES, State

PAGE = Path(__file__).resolve().parents[2] / "docs" / "states.md"
# states whose cases exclude each other; of all others the second case follows the first
_ALTERNATIVES = ("Suspended",)


def name(state: State) -> str:
    """Return by what a row of `tests.states` is known."""
    return f"{state.name}: {state.case}"


def compare(tool: str, seen: Mapping[str, str]) -> list[str]:
    """Return what the page says otherwise than a run; ``seen``: what ``tool`` made of each row, by `name`."""
    written, made = read(tool), {state: cell(state, seen) for state in dict.fromkeys(row.name for row in STATES)}
    return [
        f"{state}: write {text!r}, not {written.get(state)!r}"
        for state, text in made.items()
        if written.get(state) != text
    ] + [f"{state}: no run has it" for state in written.keys() - made.keys()]


def cell(state: str, seen: Mapping[str, str]) -> str:
    """Return the cell of one state: each answer once, in the order of its cases."""
    answers = dict.fromkeys(seen[name(row)] for row in STATES if row.name == state)
    return (" or " if state in _ALTERNATIVES else ", then ").join(answers)


def read(tool: str) -> dict[str, str]:
    """Return the column of a tool, by the names of the states."""
    rows = [_cells(line) for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    [head] = [row for row in rows if row[0] == "State" and tool in row]
    return dict(_column(rows, head.index(tool), len(head)))


def _column(rows: Iterable[list[str]], place: int, width: int) -> Iterable[tuple[str, str]]:
    for row in rows:
        if len(row) == width and row[0].startswith("**"):
            yield row[0].split("**")[1], row[place]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
