"""What the answers to a release's probes add to a verdict."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pluginrelease.api import ConditionType, times
from pluginrelease.api.reasons import Reason
from pluginrelease.core.findings import Finding
from pluginrelease.core.gateway.observations import PodObservation, identify_run
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict
from pluginrelease.core.rollout import probe
from pluginrelease.core.rollout.probe import PodProbe

# a gateway that has just loaded may answer the first requests with the old code; an upstream may fail once
GRACE = timedelta(seconds=10)


@dataclass(frozen=True)
class Weighed:
    """The verdict after the probes, the condition Probed, and since when probes fail without a break."""

    verdict: Verdict
    finding: Finding
    failing_since: datetime | None


def is_due(verdict: Verdict) -> bool:
    """Return True if every gateway has the plugin, so that its answers come from it."""
    return verdict.state is State.LOADED or (bool(verdict.pods) and all(map(is_asked, verdict.pods)))


def is_asked(row: PodVerdict) -> bool:
    """Return True if a pod's answers come from the plugin: it runs there, or only the proof is missing."""
    return row.state is State.LOADED or row.reason.lacks_only_proof


def weigh(
    verdict: Verdict,
    answers: Sequence[PodProbe],
    *,
    seen: Collection[PodObservation],
    probes_failed_before: Collection[str],
    failing_since: datetime | None,
    settled: bool,
    now: datetime,
    patience: timedelta = GRACE,
    watched: bool = False,
) -> Weighed:
    """Return the verdict after the probes.

    If a probe failed in every pod before the write and passes in all of them now, that proves the revision.
    ``settled``: the revision ran everywhere before, so a first failure is checked again before it is reported.
    ``patience``: grace period for *unanswered* probes of a revision that never ran everywhere, or is ``watched``. It is
    longer than for wrong answers, because the API server or the network may be at fault. If no connection was made,
    nothing has passed.
    """
    failed = [answer for answer in answers if not answer.ok]
    if answers and not failed:
        passed = Finding(ConditionType.PROBED, "True", Reason.PROBED, probe.sum_up(answers).message)
        return Weighed(accept_proof(verdict, answers, seen, probes_failed_before), passed, None)
    since = find_failing_since(failing_since, now)
    summed = probe.sum_up(answers)
    message, reason = summed.message, summed.reason
    unanswered = reason == Reason.PROBE_UNANSWERED and (watched or not settled)
    if now - since >= (max(patience, GRACE) if unanswered else GRACE):
        finding = Finding(ConditionType.PROBED, "False", reason, message)
        return Weighed(report_wrong(verdict, failed, reason, message), finding, since)
    finding = Finding(ConditionType.PROBED, "False", Reason.AWAITING_PROBES, message)
    if settled and verdict.state is State.LOADED:
        return Weighed(verdict, finding, since)
    return Weighed(
        replace(verdict, state=State.PENDING, reason=Reason.AWAITING_PROBES, message=message), finding, since
    )


def find_failing_since(failing_since: datetime | None, now: datetime) -> datetime:
    """Return since when probes fail.

    A time in the future is from before the clock was set back, and is replaced by now.
    """
    if failing_since is None or failing_since > now:
        return times.to_microseconds(now)
    return failing_since


def accept_proof(
    verdict: Verdict,
    answers: Collection[PodProbe],
    seen: Collection[PodObservation],
    probes_failed_before: Collection[str],
) -> Verdict:
    """Return Loaded for pods that only lacked the proof, if a probe distinguishes new from old."""
    tells = sorted({answer.probe for answer in answers} & set(probes_failed_before))
    if verdict.state is State.LOADED or not tells:
        return verdict
    sign = f"Runs the plugin: the probe {tells[0]} failed before the write, and passes"
    rows = tuple(
        replace(row, state=State.LOADED, reason=Reason.LOADED, message=f"{sign}.")
        if row.reason.lacks_only_proof
        else row
        for row in verdict.pods
    )
    runs = {identify_run(sighting) for sighting in seen} - {None}
    verified = verdict.verified | frozenset(run for run in runs if run is not None)
    return Verdict(State.LOADED, Reason.LOADED, f"All {len(rows)} gateway pods run the plugin.", rows, verified)


def report_wrong(verdict: Verdict, failed: Sequence[PodProbe], reason: Reason, message: str) -> Verdict:
    """Return the verdict with the pods that answer wrongly first; the others are unchanged."""
    wrong = {(answer.pod.namespace, answer.pod.name): answer for answer in failed}
    rows = [replace_row(row, wrong.get((row.pod.namespace, row.pod.name))) for row in verdict.pods]
    rows.sort(key=lambda row: row.state is not State.UNHEALTHY)
    return replace(verdict, state=State.UNHEALTHY, reason=reason, message=message, pods=tuple(rows))


def replace_row(row: PodVerdict, answer: PodProbe | None) -> PodVerdict:
    """Return one pod's row with the wrong answer."""
    if answer is None:
        return row
    return replace(row, state=State.UNHEALTHY, reason=answer.reason, message=f"{answer.probe}: {answer.message}")
