"""``make fuzz``: the target under atheris, which changes inputs towards code that was not reached yet.

A finding ends it and names the file that its input is left in: put it into tests/core/test_fuzzed.py.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pluginrelease.core"]):
    from tests.fuzz import target


def main(seconds: str) -> None:
    """Fuzz for so many seconds; ends the process with libFuzzer's code."""
    with tempfile.TemporaryDirectory(prefix="pluginrelease-fuzz-") as corpus:
        for number, seed in enumerate(target.seeds()):
            Path(corpus, str(number)).write_bytes(seed)
        options = [f"-max_total_time={int(seconds)}", "-max_len=16384", "-timeout=10", "-rss_limit_mb=1024"]
        options += [f"-artifact_prefix={tempfile.gettempdir()}/pluginrelease-fuzz-", corpus]
        atheris.Setup([sys.argv[0], *options], target.one)
        atheris.Fuzz()


main(sys.argv[1] if len(sys.argv) > 1 else "600")
