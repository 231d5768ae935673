"""The table: when a row is right, and a few rows of it on the lab, those that need no other tools."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pluginrelease_lab import Lab
from tests.layouts import book
from tests.layouts.book import LayoutCase, LayoutOutcome, LayoutSeen
from tests.layouts.cases import CASES
from tests.layouts.counter import Counter

REASONS = Path(__file__).resolve().parents[2] / "docs" / "reasons.md"
SOME = ("push", "copy", "one-layer", "higress", "index-of-index", "symlink", "unknown-abi")
CASE = LayoutCase("one", "an image", "a tool", LayoutOutcome.DENIED, lambda shop: None, "UnreadableLayout")
SEEN = LayoutSeen(LayoutOutcome.DENIED, "could not parse", usable=False, reasons=("UnreadableLayout",), layout="")
GOOD = replace(CASE, outcome=LayoutOutcome.LOADED, reason="")

WRONG = {
    "it loads": (CASE, replace(SEEN, outcome=LayoutOutcome.LOADED)),
    "Envoy refused it, and not the agent": (CASE, replace(SEEN, outcome=LayoutOutcome.REJECTED)),
    "nothing was seen": (CASE, replace(SEEN, outcome=None)),
    "inspect had another reason": (CASE, replace(SEEN, reasons=("NoPluginWasm",))),
    "inspect called it usable": (CASE, replace(SEEN, usable=True, reasons=())),
    "inspect refused what loads": (GOOD, replace(SEEN, outcome=LayoutOutcome.LOADED)),
}


def test_right() -> None:
    """A row is right when the gateway did what it says, and inspect had said so."""
    assert not book.judge(CASE, SEEN).wrong
    assert not book.judge(GOOD, replace(SEEN, outcome=LayoutOutcome.LOADED, usable=True, reasons=())).wrong


@pytest.mark.parametrize(("case", "seen"), WRONG.values(), ids=list(WRONG))
def test_wrong(case: LayoutCase, seen: LayoutSeen) -> None:
    """Anything else is wrong, and the row says so."""
    row = book.judge(case, seen)
    assert row.cells()[-1] == f"WRONG: {row.wrong}"
    assert row.wrong


def test_the_rows() -> None:
    """Each row has a name of its own, and expects of inspect a reason that users are told of."""
    told = REASONS.read_text()
    assert len({case.name for case in CASES}) == len(CASES)
    assert [case.name for case in CASES if case.reason and f"`{case.reason}`" not in told] == []
    assert [case.name for case in CASES if (case.outcome is LayoutOutcome.LOADED) is bool(case.reason)] == []


@pytest.fixture(scope="module")
def counter(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Counter:
    return Counter(lab, tmp_path_factory.mktemp("layouts"))


@pytest.mark.parametrize("case", [case for case in CASES if case.name in SOME], ids=lambda case: case.name)
def test_on_a_gateway(counter: Counter, case: LayoutCase) -> None:
    """What inspect says of an image is what a real gateway of Istio makes of it."""
    assert counter.play(case).wrong == ""
