"""Turn measured times into a figure, a table for people, and results.json for programs.

It uses no clock and no files.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One comparison: the measurements of both ways, in ``unit``."""

    name: str
    ours: tuple[float, ...]
    other: tuple[float, ...]
    unit: str = "s"

    @property
    def ratio(self) -> float:
        """Return our median over the other median; below 1 ours is faster."""
        return statistics.median(self.ours) / statistics.median(self.other)

    def result(self) -> dict[str, float | int | str]:
        """Return the entry in results.json: medians, their ratio, the unit, and the number of runs of each side."""
        return {
            "ours": round(statistics.median(self.ours), 3),
            "other": round(statistics.median(self.other), 3),
            "ratio": round(self.ratio, 3),
            "unit": self.unit,
            "runs": len(self.ours),
        }


def results(figures: Iterable[Figure]) -> dict[str, dict[str, float | int | str]]:
    """Return the content of results.json."""
    return {figure.name: figure.result() for figure in figures}


def table(figures: Sequence[Figure]) -> str:
    """Return medians side by side, their ratio, and the spread (smallest to largest) of each side."""
    header = ("figure", "ours", "other", "ratio", "spread of ours", "spread of other", "runs")
    return aligned([header, *map(_row, figures)])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of words, the heading first, in columns as wide as their widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(figure: Figure) -> tuple[str, ...]:
    return (
        figure.name,
        f"{statistics.median(figure.ours):.2f} {figure.unit}",
        f"{statistics.median(figure.other):.2f} {figure.unit}",
        f"{figure.ratio:.2f}",
        _spread(figure.ours),
        _spread(figure.other),
        str(len(figure.ours)),
    )


def _spread(values: Sequence[float]) -> str:
    return f"{min(values):.2f} … {max(values):.2f}"
