"""``make trials``: every plugin of the table is tried on a real Envoy. Writes docs/try.md.

The exit status is 0 only when all verdicts are those of the table.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from click.testing import CliRunner

from pluginrelease.cli import main as pluginrelease
from tests.trials import cases, page, run
from tests.trials.cases import Tried
from tests.trials.page import Measured

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "try.md"
EXAMPLE = "examples/header-authorization"
REQUESTS = ("/", "/ -H 'allow: true'")


def main() -> None:
    """One plugin after the other; the page has what was seen, right or wrong."""
    began = time.monotonic()
    found = {tried.name: measure(tried) for tried in cases.ALL}
    odd = {tried.name: measure(tried) for tried in cases.ODD}
    PAGE.write_text(page.text(found, transcript(), len(odd)), encoding="utf-8")
    seen = found | odd
    wrong = [
        tried.name for tried in (*cases.ALL, *cases.ODD) if seen[tried.name].result.verdict.reason != tried.verdict
    ]
    print("\n".join("WRONG: " + name for name in wrong))
    print(f"trials: {len(seen) - len(wrong)} of {len(seen)} right, {time.monotonic() - began:.0f} s", flush=True)
    sys.exit(bool(wrong))


def measure(tried: Tried) -> Measured:
    """Try one plugin in a folder of its own."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pluginrelease-trials-") as folder:
        result = run.run(Path(folder), tried.make(), tried.config, **tried.settings)
    return Measured(result, time.monotonic() - began)


def transcript() -> str:
    """What a user of the first example sees; the words that a shell needs are as typed."""
    words = ["try", EXAMPLE, *(word for request in REQUESTS for word in ("--request", request))]
    typed = " ".join(f'--request "{request}"' for request in REQUESTS)
    said = CliRunner().invoke(pluginrelease, words, catch_exceptions=False)
    return f"$ pluginrelease try {EXAMPLE} {typed}\n{said.stdout}$ echo $?\n{said.exit_code}\n"


if __name__ == "__main__":
    main()
