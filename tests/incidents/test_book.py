"""The book itself: when an incident is right, and what each file of it must have."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pluginrelease.api.reasons import Reason
from tests.harness.traffic import Answer
from tests.incidents import book
from tests.incidents.book import GONE, Becomes, Half, Incident, Says, Shows

REASONS = Path(__file__).resolve().parents[2] / "docs" / "reasons.md"
SAYS = Says("PluginRejected", "RolledBack", Becomes.RESTORED)
INCIDENT = Incident(Shows("nothing"), SAYS, frozenset({"v1"}), lambda run: None)
BARE = Half(Counter(failed=10), requests=100, seconds=2.0)
RELEASE = Half(Counter(), requests=100, seconds=2.0, said=SAYS)

WRONG = {
    "another reason": (BARE, replace(RELEASE, said=replace(SAYS, reason=Reason.FETCH_FAILED))),
    "another phase": (BARE, replace(RELEASE, said=replace(SAYS, phase="Unhealthy"))),
    "the bad plugin stays": (BARE, replace(RELEASE, said=replace(SAYS, plugin=Becomes.WRITTEN))),
    "one request more is lost": (BARE, replace(RELEASE, lost=Counter(failed=11))),
    "one gets by where none did": (BARE, replace(RELEASE, lost=Counter(unprotected=1))),
    "the bare run was no such incident": (replace(BARE, trouble="not seen"), RELEASE),
    "the release's run broke off": (BARE, replace(RELEASE, trouble="not seen")),
}


def test_right() -> None:
    """An incident is right when the release said what it must and lost no more than a bare apply."""
    assert not book.judge("one", INCIDENT, BARE, RELEASE).wrong
    assert not book.judge("one", INCIDENT, BARE, replace(RELEASE, lost=Counter(failed=10))).wrong


@pytest.mark.parametrize("halves", WRONG.values(), ids=list(WRONG))
def test_wrong(halves: tuple[Half, Half]) -> None:
    """Anything less is wrong, and the row says why."""
    row = book.judge("one", INCIDENT, *halves)
    assert row.wrong
    assert "WRONG" in row.cells()[-1]


def test_what_a_gateway_makes_impossible() -> None:
    """Where a file says why more may be lost, that is printed, and everything else must still be right."""
    stated = replace(INCIDENT, because="a worker is dead")
    lost = replace(RELEASE, lost=Counter(failed=11))
    assert book.judge("one", stated, BARE, lost).cells()[-1] == f"right ({stated.because})"
    assert book.judge("one", stated, BARE, replace(lost, said=replace(SAYS, phase="Held"))).wrong


def test_harm() -> None:
    """A request that gets by the plugin is another harm than one that is not served."""
    answers = Counter({Answer(200, "v1", "served"): 5, Answer(200, "-", "served"): 2, Answer(503, "-", "failed"): 3})
    assert book.losses(answers, frozenset({"v1"})) == Counter(unprotected=2, failed=3)


@pytest.mark.parametrize("name", book.names())
def test_each_file(name: str) -> None:
    """Each file tells what it is about, and expects a reason that users are told of."""
    incident = book.open_at(name)
    module = __import__(f"tests.incidents.cases.{name.replace('-', '_')}", fromlist=["x"])
    assert module.__doc__
    assert incident.says.phase == GONE or f"`{incident.says.reason}`" in REASONS.read_text()
