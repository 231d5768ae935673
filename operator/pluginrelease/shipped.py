"""The folders of the chart, the CRD and the examples: in the checkout, or in the installed package."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parents[1]
INSTALLED = PACKAGE / "_data"  # pyproject.toml, force-include of the wheel


def folder(name: str) -> Path:
    """Return the path of ``charts``, ``crds`` or ``examples``. Raises FileNotFoundError if the package lacks it."""
    root = CHECKOUT if (CHECKOUT / "pyproject.toml").is_file() else INSTALLED
    found = root / name
    if not found.is_dir():
        raise FileNotFoundError(f"{found} is missing: this installation of pluginrelease is not whole")
    return found
