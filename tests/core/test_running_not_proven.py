"""A gateway that runs just what is wanted since before the write: running, and not proven by a new load."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.core import revision
from pluginrelease.core.gateway.logs import LogFindings, LogKind
from pluginrelease.core.gateway.observations import PodObservation
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.gateway.verdict.values import State
from pluginrelease.core.rollout import facts
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.rollout.decisions import Goal, Intent
from tests.core.gateway_signs import COUNTED, FRESH, GIVEN, OLD, QUIET, WANTED, after, entry, event, judged
from tests.harness.releases import ARTIFACT, release

# what was there before was adopted: Envoy had it an hour before the write, and did nothing about the write
ADOPTED = replace(QUIET, at=after(6), entries=entry(last_updated=after(-3600)))
MAY: dict[str, Any] = {"may_run_already": True}


def test_what_runs_already_is_loaded_and_said_to_be_unproven() -> None:
    """No sign can come, as Envoy does nothing: it is Loaded with a reason of its own, which the release has as well."""
    found = judging.judge(WANTED, [ADOPTED], **GIVEN, **MAY)
    assert (found.state, found.reason) == (State.LOADED, "RunningNotProven")
    assert (found.pods[0].state, found.pods[0].reason) == (State.LOADED, "RunningNotProven")
    assert found.verified == frozenset(), "nothing was proved, and nothing is remembered as proved"


def test_the_next_start_proves_it() -> None:
    """A gateway that starts after the write loads it then; beside one that has not, both are told apart."""
    fresh = replace(FRESH, pod=replace(FRESH.pod, name="gateway-2", uid="uid-2"))
    found = judging.judge(WANTED, [ADOPTED, fresh], **GIVEN, **MAY)
    assert (found.state, found.reason) == (State.LOADED, "RunningNotProven")
    assert "gateway-1" in found.message
    assert "gateway-2" not in found.message
    assert judging.judge(WANTED, [fresh], **GIVEN, **MAY).reason == "Loaded"


@pytest.mark.parametrize(
    ("sighting", "given", "reason"),
    [
        (ADOPTED, {"may_run_already": False}, "what is put back is waited for: something else was written in between"),
        (replace(ADOPTED, at=after(2)), {}, "something may be on its way yet"),
        (replace(QUIET, at=after(6)), {}, "it was received with the write, and has shown nothing"),
        (replace(ADOPTED, entries=entry(last_updated=None)), {}, "nobody knows when it was received"),
        (replace(ADOPTED, stats=replace(ADOPTED.stats, vm_active=3)), {}, "a worker has no VM: it was refused there"),
        (replace(ADOPTED, stats=replace(ADOPTED.stats, vm_active=None)), {}, "VMs cannot be counted"),
        (replace(ADOPTED, code_files=2), {}, "another plugin needs the VMs that there are"),
        (replace(ADOPTED, entries=entry(last_updated=after(-3600), digest_hex=OLD)), {}, "it runs other bytes"),
        (
            replace(ADOPTED, entries=entry(last_updated=after(-3600), config={"allow": False})),
            {},
            "it runs another configuration",
        ),
    ],
)
def test_what_does_not_show_that_it_runs_already(sighting: PodObservation, given: dict[str, Any], reason: str) -> None:
    """Only a gateway that has just this, since before, with all its VMs, is taken to run it."""
    assert judged(sighting, **{**MAY, **given}).state is not State.LOADED, reason


@pytest.mark.parametrize(
    ("sighting", "reason"),
    [
        (replace(COUNTED, at=after(6), entries=ADOPTED.entries), "the counter of reloads rose"),
        (replace(ADOPTED, entries=QUIET.entries, log=event(LogKind.LOADED)), "Envoy logged that it created it"),
    ],
)
def test_a_sign_is_a_proof(sighting: PodObservation, reason: str) -> None:
    """Where a sign is seen, it is Loaded and no more is said."""
    assert judged(sighting, **MAY).reason == "Loaded", reason


def test_a_log_that_was_rotated_takes_nothing_away() -> None:
    """Nothing was received since the write, so that no refusal can be missed."""
    assert judged(replace(ADOPTED, log=LogFindings((), truncated=True)), **MAY).reason == "RunningNotProven"


NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BEGUN = NOW - timedelta(minutes=1)
SELECTOR = api.Selector(match_labels={"istio": "ingressgateway"})
SPEC = release().spec
REVISION = revision.compute_identity(SPEC, ARTIFACT.digest)


def told(first: datetime, state: str = "Deploying") -> list[api.HistoryEntry]:
    """A history with this revision, which was written first then."""
    return [
        api.HistoryEntry(
            revision=REVISION,
            number=1,
            state=state,
            ref="auth:1",
            digest=ARTIFACT.digest,
            first_deployed=first,
            last_deployed=NOW,
        )
    ]


@pytest.mark.parametrize(
    ("stable", "history", "goal", "may", "reason"),
    [
        (None, [], Goal.SPEC, True, "it is adopted, or a backup was restored: nothing of ours was there"),
        (None, told(BEGUN), Goal.SPEC, True, "so at the looks that follow"),
        (REVISION, told(BEGUN - timedelta(days=1), "Stable"), Goal.SPEC, True, "it was seen running"),
        (None, told(BEGUN - timedelta(hours=1), "Failed"), Goal.SPEC, False, "a retry of what was refused and held"),
        ("aaaaaaaaaa", [], Goal.SPEC, False, "another revision runs there"),
        (None, [], Goal.ROLLBACK, False, "it is put back"),
    ],
)
def test_of_which_revisions_it_is_said(
    stable: str | None, history: list[api.HistoryEntry], goal: Goal, may: bool, reason: str
) -> None:
    """Only where nothing else of the release can be on the gateways, and nothing of it can have been refused."""
    decided = api.RolloutStatus(spec_hash=revision.spec_hash(SPEC), started_at=BEGUN)
    ran = api.StableRevision(revision=stable, selector=SELECTOR) if stable else None
    row = api.GatewayStatus(name="public", state="Loaded", reason="Loaded", stable=ran)
    status = api.Status(rollout=decided, history=history, gateways=[row])
    begun = facts.begin(release().model_copy(update={"status": status}), NOW)
    view = begun.view("public")
    view = replace(view, entry=replace(view.entry, report=replace(view.report, intent=Intent(goal))))
    candidate = Candidate(view.placement(), ARTIFACT)
    assert view.may_run_already(candidate) is may, reason
