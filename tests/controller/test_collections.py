"""How long a search for garbage may stop the operator, and with it the renewal of its Lease."""

from __future__ import annotations

import subprocess
import sys

# modules, classes and functions of the operator are about 100,000 objects
SEARCHED = 20_000
COUNTED = """
import gc
from pluginrelease.cli import run
run.exempt_from_collections()
print(len(gc.get_objects()))
"""


def test_a_search_for_garbage_passes_over_what_was_imported() -> None:
    """Once it runs, the operator searches what it works with, and not its own code."""
    done = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) < SEARCHED
