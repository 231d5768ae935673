"""Functions and files stay as small as a reader can keep in mind."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
ROOTS = ("operator", "lab")
MEDIAN, LONGEST, FILE = 8, 60, 500  # lines


def files(root: str) -> list[Path]:
    return sorted((CHECKOUT / root).rglob("*.py"))


def functions(root: str) -> Iterator[tuple[str, int]]:
    """Name and lines of each function below a source root."""
    for path in files(root):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(CHECKOUT)}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("root", ROOTS)
def test_functions_are_short(root: str) -> None:
    """Half of all functions have at most eight lines, and none has more than sixty."""
    found = dict(functions(root))
    assert statistics.median(found.values()) <= MEDIAN
    assert [name for name, lines in found.items() if lines > LONGEST] == []


@pytest.mark.parametrize("root", ROOTS)
def test_files_are_short(root: str) -> None:
    """No file of the product has more than five hundred lines."""
    assert [path.name for path in files(root) if len(path.read_text(encoding="utf-8").splitlines()) > FILE] == []
