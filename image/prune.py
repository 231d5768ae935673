"""Delete from the environment that runs this what the operator never imports of the generated Kubernetes client.

The client has a module for each kind and each group of the API, twice, and loads one when it is asked for. The
operator asks for a handful. Run it with the Python of an environment that has the operator in it.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path

GENERATED = (
    "kubernetes.client.api",
    "kubernetes.client.models",
    "kubernetes.aio.client.api",
    "kubernetes.aio.client.models",
)
EXTRAS = ("cel_expr_python", "pluginrelease_lab")
"""What is no part of the image: a module of the operator that needs one of them may not be imported."""


def import_everything() -> None:
    """Import each module of the operator."""
    operator = importlib.import_module("pluginrelease")
    for module in pkgutil.walk_packages(operator.__path__, "pluginrelease."):
        if module.name.endswith(".__main__"):
            continue  # it would run
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as missing:
            if (missing.name or "").partition(".")[0] not in EXTRAS:
                raise


def imported_files() -> set[Path]:
    """Where the modules that are imported by now came from."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return {Path(file).resolve() for file in files if file}


def prune(package: str, kept: set[Path]) -> int:
    """Delete the modules of ``package`` that are not in ``kept``, source and bytecode; how many bytes they had."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"prune.py: there is no package {package}: the client is laid out otherwise than it was")
    freed = 0
    for source in Path(spec.origin).parent.glob("*.py"):
        if source.resolve() not in kept and source.name != "__init__.py":
            for file in (source, *source.parent.glob(f"__pycache__/{source.stem}.*.pyc")):
                freed += file.stat().st_size
                file.unlink()
    return freed


def main() -> None:
    import_everything()
    kept = imported_files()
    freed = sum(prune(package, kept) for package in GENERATED)
    print(f"pruned {freed / 1e6:.0f} MB of the Kubernetes client")


if __name__ == "__main__":
    main()
