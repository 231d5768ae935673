"""What holds for the whole source tree, and what no linter says of it."""

from __future__ import annotations

import operator
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = (CHECKOUT / "operator" / "pluginrelease", CHECKOUT / "lab" / "pluginrelease_lab")


def test_the_source_root_is_not_a_package() -> None:
    """An operator/__init__.py would stand in for Python's own `operator` wherever the checkout is on the path."""
    assert not (CHECKOUT / "operator" / "__init__.py").exists()


@pytest.mark.parametrize("flag", [[], ["-P"]], ids=["with the checkout on the path", "without"])
def test_pythons_own_operator_is_found_in_the_checkout(flag: list[str]) -> None:
    """`python -c …` in the root of the checkout imports the standard library's operator, as everything else does."""
    code = "import operator, collections; print(operator.__file__)"
    found = subprocess.run(
        [sys.executable, *flag, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == operator.__file__


def test_no_module_hides_one_of_pythons_own() -> None:
    """No top-level module or folder in the source roots is called like a module of the standard library, but the one
    that is guarded above."""
    roots = (CHECKOUT, *(source.parent for source in SOURCES))
    names = {entry.stem for root in roots for entry in root.iterdir() if entry.suffix in ("", ".py")}
    assert names & set(sys.stdlib_module_names) <= {"operator"}
