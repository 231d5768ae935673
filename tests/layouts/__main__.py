"""``make layouts``: every layout and source against a real Istio, each first inspected. Writes docs/layouts.md.

The exit status is 0 only when all rows are right. What did not run counts as wrong.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

import pluginrelease_lab as labs
from pluginrelease_lab import binaries
from tests.layouts import book, page
from tests.layouts.book import LayoutRow, unrun
from tests.layouts.cases import CASES
from tests.layouts.counter import Counter
from tests.layouts.workshop import require_tools

PAGE = Path(__file__).parents[2] / "docs" / "layouts.md"


@click.command()
@click.argument("names", nargs=-1)
def main(names: Sequence[str]) -> None:
    """The rows named, or all; the page is written when all ran."""
    unknown = sorted(set(names) - {case.name for case in CASES})
    if unknown:
        raise click.ClickException(f"no such row: {', '.join(unknown)}")
    require_tools()
    binaries.ensure(["helm"], report=say)
    began = time.monotonic()
    rows = {case.name: unrun(case, "did not run") for case in CASES if not names or case.name in names}
    with tempfile.TemporaryDirectory(prefix="pluginrelease-layouts-") as folder:
        run(Path(folder), rows)
    right = sum(not row.wrong for row in rows.values())
    print(book.markdown(page.HEADINGS, [row.cells() for row in rows.values()]))
    if not names:
        PAGE.write_text(page.text(list(rows.values()), time.monotonic() - began), encoding="utf-8")
    print(f"{time.monotonic() - began:.0f} s")
    print(f"layouts: {right} of {len(rows)} right", flush=True)
    sys.exit(right != len(rows))


def run(folder: Path, rows: dict[str, LayoutRow]) -> None:
    """One after the other, on one gateway."""
    with labs.up("layouts", gateways=1, report=say) as lab:
        counter = Counter(lab, folder)
        for name, row in rows.items():
            rows[name] = counter.play(row.case)
            say("  ".join([name, *rows[name].cells()[2:]]))


def say(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
