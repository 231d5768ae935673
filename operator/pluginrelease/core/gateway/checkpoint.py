"""The starting point of a check of the gateways, as status stores it.

It begins before a write, so that a pass that is interrupted after the write can be run again. `notes` and
`raised_loggers` define the stored form.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway import notes, observations
from pluginrelease.core.gateway.identity import Incarnation, pod_mark
from pluginrelease.core.gateway.notes import Notes
from pluginrelease.core.gateway.observations import PodObservation
from pluginrelease.core.gateway.verdict.values import State, Verdict


def begin(
    known: api.Observation | None,
    *,
    name: str,
    revision: str,
    load: str,
    carried: str | None,
    stable: str | None,
    before: Iterable[PodObservation],
    probes_failed_before: Collection[str],
    now: datetime,
) -> api.Observation:
    """Return the observation of a revision that is about to be written for the entry of this name.

    ``carried`` is the revision that the object has before the write. ``before`` are the observations of its pods
    then. ``probes_failed_before`` lists the probes that failed in every pod then.

    What a gateway loads may be the same as before: if another client changed or deleted the object, or if only phase,
    priority or selector are new. Then Envoy receives nothing new and shows no new sign. So the pods that were seen
    running it are kept; a pod that has lost it meanwhile shows that by what it has. A refusal that was reported since
    the earlier write still counts.

    The same holds for what ran before the present revision. A gateway that refused the new one, or never received it,
    still runs the old one when that is written back.
    """
    awaited = known if known is not None and is_awaited(known, load, carried, stable) else None
    baselines = [baseline for baseline in map(observations.make_baseline, before) if baseline is not None]
    load_hash_before, ran_before = find_earlier_proof(known, load)
    noted = Notes(
        baselines=notes.read(awaited).baselines if awaited else tuple(baselines),
        loaded=list_proved(known, load),
        before=ran_before,
    )
    begun = api.Observation(
        name=name,
        revision=revision,
        load_hash=load,
        since=awaited.since if awaited else times.to_microseconds(now),
        written_at=awaited.written_at if awaited else None,
        deliverable_since=awaited.deliverable_since if awaited else None,
        load_hash_before=load_hash_before,
        raised_loggers=known.raised_loggers if known else [],
        probes_failed_before=sorted(probes_failed_before),
        refetch=known.refetch if known is not None and known.revision == revision else None,
    )
    return notes.store(noted, begun)


def is_awaited(known: api.Observation, load: str, carried: str | None, stable: str | None) -> bool:
    """Return True if the gateways are still loading this very content since an earlier write."""
    return known.load_hash == load and known.revision == carried != stable


def list_proved(known: api.Observation | None, load: str) -> frozenset[Incarnation]:
    """Return the runs that were seen running this very content, and nothing else since."""
    if known is None:
        return frozenset()
    noted = notes.read(known)
    if known.load_hash == load:
        return noted.loaded
    return noted.before - noted.loaded if known.load_hash_before == load else frozenset()


def find_earlier_proof(known: api.Observation | None, load: str) -> tuple[str, frozenset[Incarnation]]:
    """Return the hash of other content that was proved, and the runs that proved it.

    If there were several, it is the last one that was seen running anywhere.
    """
    if known is None:
        return "", frozenset()
    noted = notes.read(known)
    if known.load_hash == load or not noted.loaded:
        return known.load_hash_before, noted.before
    return known.load_hash, noted.loaded


def keep(
    known: api.Observation, judged: Verdict, *, at_rest: bool, written_at: datetime | None = None
) -> api.Observation:
    """Return the observation after a check: which runs need no new proof, and since when other pods do not answer.

    ``at_rest``: the revision has run everywhere, so that less must be stored. ``written_at``: when the object was
    written last. Only the first one is kept: a refetch writes the same revision again.
    """
    known = known.model_copy(update={"written_at": known.written_at or written_at})
    noted = replace(notes.read(known), loaded=judged.verified, silent=judged.silent)
    if at_rest and judged.state is State.LOADED:
        noted = notes.rest(noted, {pod_mark(row.pod.uid) for row in judged.pods})
        known = known.model_copy(update={"load_hash_before": "", "deliverable_since": None})
    return notes.store(forgive_crash(noted, judged), known)


def note_deliverable(
    known: api.Observation, reason_before: str | None, judged: Verdict, now: datetime
) -> api.Observation:
    """Return the observation with the time of this check, if the control plane was stuck at the check before.

    What gateways lack then, they lack because of that. ``reason_before``: the reason in the entry's row.
    """
    if reason_before != Reason.CONTROL_PLANE_STUCK or judged.reason is Reason.CONTROL_PLANE_STUCK:
        return known
    return known.model_copy(update={"deliverable_since": times.to_seconds(now)})


def forgive_crash(noted: Notes, judged: Verdict) -> Notes:
    """Forget a crash that a neighbour caused once the pod is well again, so that its next crash counts."""
    over = {
        pod_mark(row.pod.uid): row.pod.container.restarts
        for row in judged.pods
        if (row.state, row.reason) == (State.UNKNOWN, Reason.GATEWAY_CRASHED) and observations.is_well(row.pod)
    }
    kept = (
        replace(baseline, restarts=over.get(baseline.incarnation.pod, baseline.restarts))
        for baseline in noted.baselines
    )
    return replace(noted, baselines=tuple(kept)) if over else noted
