"""docs/layouts.md: what a run of the table has seen, as a page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.layouts import book
from tests.layouts.book import LayoutOutcome, LayoutRow
from tests.layouts.by_hand import BY_HAND
from tests.layouts.real_builds import BUILT

HEADINGS = ("Image", "Made with", "`inspect` said", "It", "In the gateway's words", "")
INTRODUCTION = """\
# Which images gateways read

This page has all common layouts, each built with its usual tool. Each was given to a real gateway of Istio 1.31, as a
bare `WasmPlugin` with `failStrategy: FAIL_CLOSE`. Before that, `pluginrelease inspect … --for istio@1.31` checked it. A
row is right if the gateway did what the table of `tests/layouts/cases.py` says, and `inspect` had said the same. The
reasons are explained in [reasons.md](reasons.md).

`make layouts` runs the table on its own lab, in about {minutes} minutes, and writes this page. It needs buildah and
skopeo in addition to the lab, and says how to install them. A few rows are in `make test`.

*403 to everyone*: Istio's agent could not read the image, and installed a filter that denies every request. *500 to
everyone*: the agent read it, and Envoy rejected the module. On a gateway that runs an earlier version of the plugin,
that version keeps serving, and Envoy rejects new listeners.
"""
END = """\
## What is not here

TinyGo and emscripten were not available where the table was run, so their modules were not tested. Higress's own agent
is in no package registry. Some limits are tighter here than in a gateway, so that an untrusted image cannot exhaust the
operator. `inspect` refuses an image above such a limit, although a gateway might read it
([decision 0030](decisions/0030-tighter-bounds-than-a-gateway.md)).
"""


def text(rows: Sequence[LayoutRow], seconds: float) -> str:
    """The whole page."""
    right = sum(not row.wrong for row in rows)
    loads = sum(row.seen is not None and row.seen.outcome is LayoutOutcome.LOADED for row in rows)
    counted = f"One run: {right} of {len(rows)} right; {loads} load, {len(rows) - loads} do not."
    wrong = "".join(f"\n* WRONG: {row.case.name}: {row.wrong}" for row in rows if row.wrong)
    chapters = "\n".join(chapter(title, members) for title, members in by_chapter(rows).items())
    return f"{INTRODUCTION.format(minutes=math.ceil(seconds / 60))}\n{counted}{wrong}\n\n{chapters}\n{END}"


def by_chapter(rows: Sequence[LayoutRow]) -> dict[str, list[LayoutRow]]:
    """The rows under the titles of the page's chapters."""
    chapters: dict[str, list[LayoutRow]] = {
        "What tools push": [],
        "What else a registry can hold": [],
        "Real builds of the SDKs": [],
    }
    titles = {BY_HAND: "What else a registry can hold", BUILT: "Real builds of the SDKs"}
    for row in rows:
        chapters[titles.get(row.case.source, "What tools push")].append(row)
    return chapters


def chapter(title: str, rows: Sequence[LayoutRow]) -> str:
    return f"## {title}\n\n{book.markdown(HEADINGS[:-1], [row.cells()[:-1] for row in rows])}\n"
