"""docs/layouts.md: what a run of the table has seen, as a page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.layouts import book
from tests.layouts.book import Outcome, Row
from tests.layouts.by_hand import BY_HAND
from tests.layouts.real_builds import BUILT

HEADINGS = ("Image", "Made with", "`inspect` said", "It", "In the gateway's words", "")
INTRODUCTION = """\
# Which images gateways read

Every layout that people meet, made with what they make it with, and brought to a real gateway of Istio 1.31 as a
bare `WasmPlugin` with `failStrategy: FAIL_CLOSE`. Before that, `pluginrelease inspect … --for istio@1.31` was asked. A
row is right when the gateway did what the table of `tests/layouts/cases.py` says, and `inspect` had said just that,
with the reason that [reasons.md](reasons.md) explains.

`make layouts` runs the table on a lab of its own, in about {minutes} minutes, and writes this page. It needs buildah
and skopeo besides the lab, and says how they are had. A few rows are in `make test`.

*403 to everyone*: Istio's agent could not read the image, and put a filter in its place that denies everything.
*500 to everyone*: the agent read it, and Envoy refused the module. On a gateway that runs an earlier version of the
plugin, that one goes on serving, and new listeners are refused.
"""
END = """\
## What is not here

TinyGo and emscripten, which could not be had where the table was run: what `inspect` reads in their modules was not
tried on one that was built here. Higress's own agent, which is in no package registry. Limits that are tighter here
than in a gateway, so that a stranger's image cannot wear the operator out: an image that meets one is refused by
`inspect`, and a gateway might read it ([decision 0030](decisions/0030-tighter-bounds-than-a-gateway.md)).
"""


def text(rows: Sequence[Row], seconds: float) -> str:
    """The whole page."""
    right = sum(not row.wrong for row in rows)
    loads = sum(row.seen is not None and row.seen.outcome is Outcome.LOADED for row in rows)
    counted = f"One run: {right} of {len(rows)} right; {loads} load, {len(rows) - loads} do not."
    wrong = "".join(f"\n* WRONG: {row.case.name}: {row.wrong}" for row in rows if row.wrong)
    chapters = "\n".join(chapter(title, members) for title, members in by_chapter(rows).items())
    return f"{INTRODUCTION.format(minutes=math.ceil(seconds / 60))}\n{counted}{wrong}\n\n{chapters}\n{END}"


def by_chapter(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows under the titles of the page's chapters."""
    chapters: dict[str, list[Row]] = {
        "What tools push": [],
        "What else a registry can hold": [],
        "Real builds of the SDKs": [],
    }
    titles = {BY_HAND: "What else a registry can hold", BUILT: "Real builds of the SDKs"}
    for row in rows:
        chapters[titles.get(row.case.source, "What tools push")].append(row)
    return chapters


def chapter(title: str, rows: Sequence[Row]) -> str:
    return f"## {title}\n\n{book.markdown(HEADINGS[:-1], [row.cells()[:-1] for row in rows])}\n"
