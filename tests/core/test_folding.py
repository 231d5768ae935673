"""What several entries amount to: one Ready, one phase, one condition a step, and counts; and of one entry, itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused, Waiting
from pluginrelease.core.findings import Finding
from pluginrelease.core.gateway.verdict.values import State
from pluginrelease.core.rollout.decisions import Goal, Intent
from pluginrelease.core.rollout.report import EntryReport, Failure
from pluginrelease.core.status import folding
from tests.reports import (
    BACK,
    BLOCKED,
    INTERNAL,
    NEW,
    NOT_ALLOWED,
    OLD,
    PARTNERS,
    PUBLIC,
    ROLLBACK,
    SILENT,
    TRANSIENT,
    TRYING,
    UNHEALTHY,
    by_type,
    entry,
    judged,
    knowing,
    left_out,
    row,
    settle,
    stood_before,
    verdict_of,
    whole,
)

LOADED = entry(PUBLIC, judged(State.LOADED, "Loaded", row("a", State.LOADED), row("b", State.LOADED)))
PENDING = entry(PUBLIC, judged(State.PENDING, "AwaitingConfig", row("c", State.PENDING, "AwaitingConfig")))
REJECTED = entry(PUBLIC, judged(State.UNHEALTHY, "PluginRejected", row("d", State.UNHEALTHY, "PluginRejected")))
UNTOLD = entry(PUBLIC, judged(State.UNKNOWN, "NoPositiveSign", row("e", State.UNKNOWN, "NoPositiveSign")))
NO_PODS = entry(PUBLIC, judged(State.PENDING, "NoGatewayPods"))
GONE = Waiting(Reason.NAMESPACE_NOT_FOUND, "edge does not exist", "Create it")
OVERLAP = Refused(Reason.PODS_OVERLAP, "both select pod edge/a", "Narrow one")


def named(known: EntryReport, name: str) -> EntryReport:
    return replace(known, name=name)


@dataclass(frozen=True)
class FoldingCase:
    """Entries of one pass, and what the release is by them; ``steps`` are Applied and Loaded."""

    reason: str
    entries: tuple[EntryReport, ...]
    phase: str
    ready: tuple[str, str]
    also: str | None
    steps: tuple[str, str | None]
    gateways: str
    pods: str


TWO, THREE = (PUBLIC, INTERNAL), (PUBLIC, INTERNAL, PARTNERS)
CASES = [
    FoldingCase(
        "both run it",
        (LOADED, named(LOADED, INTERNAL)),
        *("Ready", ("True", "Loaded"), None, ("Applied", "Loaded"), "2/2", "4/4"),
    ),
    FoldingCase(
        "one of two is not allowed: the other goes on, and a person must act",
        (LOADED, left_out(INTERNAL, NOT_ALLOWED)),
        *("Refused", ("False", "NamespaceNotAllowed"), "Stalled", ("NamespaceNotAllowed", "NotReached"), "1/2", "2/2"),
    ),
    FoldingCase(
        "one of two has no namespace yet: the operator goes on",
        (left_out(PUBLIC, GONE), named(LOADED, INTERNAL)),
        *("Waiting", ("False", "NamespaceNotFound"), "Reconciling", ("NamespaceNotFound", "NotReached"), "1/2", "2/2"),
    ),
    FoldingCase(
        "one of two could not be asked: it is tried again",
        (LOADED, left_out(INTERNAL, SILENT)),
        *("Retrying", ("False", "APIServerUnavailable"), "Reconciling"),
        *(("APIServerUnavailable", "NotReached"), "1/2", "2/2"),
    ),
    FoldingCase(
        "one is awaited",
        (LOADED, named(PENDING, INTERNAL)),
        *("Loading", ("False", "AwaitingConfig"), "Reconciling", ("Applied", "AwaitingConfig"), "1/2", "2/3"),
    ),
    FoldingCase(
        "one is awaited, one is left out: what moves is said first",
        (LOADED, named(PENDING, INTERNAL), left_out(PARTNERS, NOT_ALLOWED)),
        *("Loading", ("False", "AwaitingConfig"), "Reconciling"),
        *(("NamespaceNotAllowed", "AwaitingConfig"), "1/3", "2/3"),
    ),
    FoldingCase(
        "one refused it, one is awaited: the worst counts",
        (named(PENDING, PUBLIC), named(REJECTED, INTERNAL)),
        *("Unhealthy", ("False", "PluginRejected"), "Stalled", ("Applied", "AwaitingConfig"), "0/2", "0/2"),
    ),
    FoldingCase(
        "one refused it, one is left out",
        (REJECTED, left_out(INTERNAL, NOT_ALLOWED)),
        *("Unhealthy", ("False", "PluginRejected"), "Stalled", ("NamespaceNotAllowed", "PluginRejected"), "0/2", "0/1"),
    ),
    FoldingCase(
        "one cannot be told",
        (LOADED, named(UNTOLD, INTERNAL)),
        *("Unknown", ("Unknown", "NoPositiveSign"), "Reconciling", ("Applied", "NoPositiveSign"), "1/2", "2/3"),
    ),
    FoldingCase(
        "one has no pods",
        (LOADED, named(NO_PODS, INTERNAL)),
        *("Loading", ("False", "NoGatewayPods"), "Reconciling", ("Applied", "NoGatewayPods"), "1/2", "2/2"),
    ),
    FoldingCase(
        "one has no pods, one is left out: for a pod one may wait for ever, so the other is said",
        (NO_PODS, left_out(INTERNAL, NOT_ALLOWED)),
        *("Refused", ("False", "NamespaceNotAllowed"), "Stalled"),
        *(("NamespaceNotAllowed", "NoGatewayPods"), "0/2", "0/0"),
    ),
    FoldingCase(
        "one has no pods, one is awaited: that moves",
        (NO_PODS, named(PENDING, INTERNAL)),
        *("Loading", ("False", "AwaitingConfig"), "Reconciling", ("Applied", "NoGatewayPods"), "0/2", "0/1"),
    ),
    FoldingCase(
        "all are left out, for different reasons: a refusal before what may still come",
        (left_out(PUBLIC, GONE), left_out(INTERNAL, OVERLAP), left_out(PARTNERS, SILENT)),
        *("Refused", ("False", "PodsOverlap"), "Stalled", ("NamespaceNotFound", "NotReached"), "0/3", "0/0"),
    ),
    FoldingCase(
        "one is being removed, and its namespace does not answer",
        (LOADED, named(LOADED, INTERNAL), replace(left_out(PARTNERS, SILENT), is_removed=True)),
        *("Retrying", ("False", "APIServerUnavailable"), "Reconciling"),
        *(("APIServerUnavailable", "NotReached"), "2/2", "4/4"),
    ),
]


def release_of(entries: tuple[EntryReport, ...]) -> api.Release:
    """A release with these entries, of which nothing is known yet."""
    gateways = [
        {"name": known.name, "namespace": "edge", "selector": {"matchLabels": {"entry": known.name}}}
        for known in entries
        if not known.is_removed
    ]
    return knowing(TRYING, gateways=[], spec__gateways=gateways)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.reason)
def test_what_several_entries_amount_to(case: FoldingCase) -> None:
    """The release is what the worst of its entries is, and its counts are of all."""
    status = settle(whole(*case.entries, rollout=TRYING), release_of(case.entries)).status
    found = by_type(status)
    assert (status.phase, (found["Ready"].status, found["Ready"].reason)) == (case.phase, case.ready)
    assert {kind for kind in ("Reconciling", "Stalled") if kind in found} == ({case.also} - {None})
    assert (found["Applied"].reason, found["Loaded"].reason) == case.steps
    assert status.summary is not None
    assert (status.summary.gateways, status.summary.pods) == (case.gateways, case.pods)
    assert found["Ready"].reason in {row.reason for row in status.gateways} | {"Loaded"}, "some row says why"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.reason)
def test_the_order_of_entries_decides_nothing(case: FoldingCase) -> None:
    """The same entries the other way round are the same release."""
    turned = case.entries[::-1]
    status = settle(whole(*turned, rollout=TRYING), release_of(turned)).status
    assert (status.phase, by_type(status)["Ready"].reason) == (case.phase, case.ready[1])


@pytest.mark.parametrize("only", [LOADED, PENDING, REJECTED, UNTOLD, NO_PODS, left_out(PUBLIC, NOT_ALLOWED)])
def test_one_entry_is_told_as_it_is(only: EntryReport) -> None:
    """Of one entry no message names it, and no count is put before it."""
    report = whole(only, rollout=TRYING)
    assert folding.fold_verdicts(report.entries) == only.verdict
    assert folding.fold_failures(report) == only.failure
    assert folding.left_out(report) is None
    finding = Finding(ConditionType.APPLIED, "True", Reason.APPLIED, "as it was said")
    assert folding.fold_findings(ConditionType.APPLIED, [(PUBLIC, finding)], 1) == finding
    ready = by_type(settle(report, release_of((only,))).status)["Ready"]
    assert "gateway public" not in ready.message


def test_of_several_the_message_names_the_entry() -> None:
    """Who reads Ready knows where to look: the entry, and how many of how many."""
    entries = (LOADED, left_out(INTERNAL, NOT_ALLOWED), left_out(PARTNERS, SILENT))
    ready = by_type(settle(whole(*entries, rollout=TRYING), release_of(entries)).status)["Ready"]
    assert "2 of 3 gateways" in ready.message
    assert "gateway internal" in ready.message
    rejected = (LOADED, named(REJECTED, INTERNAL))
    assert "gateway internal" in by_type(settle(whole(*rejected), release_of(rejected)).status)["Ready"].message


def test_a_refusal_keeps_what_it_is() -> None:
    """The error that names its entry is still looked at again as the one that it was made of."""
    report = whole(LOADED, left_out(INTERNAL, NOT_ALLOWED))
    found = folding.left_out(report)
    assert found is not None
    assert isinstance(found.error, Refused)
    assert (found.error.reason, found.error.remedy, found.error.recheck) == ("NamespaceNotAllowed", "Annotate it", 30.0)
    assert found.error.message != NOT_ALLOWED.message, "the entry's own stays as it was"
    assert NOT_ALLOWED.message in found.error.message


def test_the_releases_own_error_comes_first() -> None:
    """What is refused for all is not told as the trouble of one of them."""
    own = replace(TRANSIENT, entries=(LOADED, left_out(INTERNAL, NOT_ALLOWED)))
    assert folding.fold_failures(own) == TRANSIENT.failure
    assert folding.left_out(own) is None


def test_a_long_message_is_cut() -> None:
    """Sixty-four gateways in trouble fit into a status."""
    wordy = replace(verdict_of(UNHEALTHY), message="x" * api.MESSAGE_MAX)
    folded = folding.fold_verdicts([entry(name, wordy) for name in TWO])
    assert folded is not None
    assert len(folded.message) == api.MESSAGE_MAX
    findings = [(name, Finding(ConditionType.APPLIED, "False", "x", name * 1000)) for name in THREE]
    assert len(folding.fold_findings(ConditionType.APPLIED, findings, 3).message) == api.MESSAGE_MAX


# --------------------------------------------------------------------------------------------- several on the way back

OFF = EntryReport(INTERNAL, intent=Intent(Goal.NOTHING), running="")
PUT_BACK = entry(PUBLIC, judged(State.LOADED, "Loaded", row("a", State.LOADED)), **ROLLBACK)
IN_THE_CLUSTER = replace(PUT_BACK, verdict=PENDING.verdict)
ADOPTED = EntryReport(PARTNERS, intent=Intent(Goal.ADOPTED, "auth-adopted-0123456789"), running="")
STAYS = entry(PARTNERS, LOADED.verdict, intent=Intent(Goal.STAY, NEW))
STUCK = EntryReport(INTERNAL, intent=Intent(Goal.ROLLBACK, OLD), failure=Failure(ConditionType.APPLIED, BLOCKED))


@pytest.mark.parametrize(
    ("entries", "phase", "also", "reason"),
    [
        ((PUT_BACK, OFF), "RolledBack", "Stalled", "one has what it ran, one never ran anything"),
        ((OFF,), "Removed", "Stalled", "nothing ran anywhere"),
        ((PUT_BACK, ADOPTED), "RolledBack", "Stalled", "an adopted object is as it was"),
        ((IN_THE_CLUSTER, OFF), "RollingBack", "Reconciling", "one is still awaited"),
        ((PUT_BACK, STUCK), "RollbackBlocked", "Stalled", "one cannot be put back, and nothing moves"),
        ((IN_THE_CLUSTER, STUCK), "RollbackBlocked", "Reconciling", "one cannot be put back, another moves"),
        ((PUT_BACK, STAYS), "RolledBack", "Stalled", "one ran it before, and keeps it"),
        ((PUT_BACK, left_out(INTERNAL, NOT_ALLOWED)), "RolledBack", "Stalled", "one was never placed"),
    ],
)
def test_how_far_the_way_back_is(entries: tuple[EntryReport, ...], phase: str, also: str, reason: str) -> None:
    """The entry that has come least far says how far the release has come; Ready says why it goes back."""
    status = settle(whole(*entries, rollout=BACK), knowing(BACK, gateways=[stood_before()])).status
    found = by_type(status)
    assert (status.phase, found["Ready"].reason) == (phase, "PluginRejected"), reason
    assert {kind for kind in ("Reconciling", "Stalled") if kind in found} == {also}


def test_a_way_back_that_was_gone_is_not_blocked_by_what_is_tried_beside_it() -> None:
    """A new entry whose revision is refused says so; the others are where they were put back to."""
    refused = replace(whole(PUT_BACK, rollout=BACK), failure=Failure(ConditionType.COMPATIBLE, OVERLAP))
    assert settle(refused, knowing(BACK)).status.phase == "RolledBack"
    cut_short = replace(refused, entries=(EntryReport(PUBLIC, intent=Intent(Goal.ROLLBACK, OLD), puts_back=OLD),))
    assert settle(cut_short, knowing(BACK)).status.phase == "RollbackBlocked"
