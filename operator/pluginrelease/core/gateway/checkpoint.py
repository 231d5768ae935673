"""What a look at the gateways starts from, as status keeps it: begun before a write, so that a pass that is cut short
after it can be run again. How it is stored is the matter of `notes` and `raised_loggers`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core import timestamps
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

    ``carried`` is the revision that the object has before the write; ``before`` the look at the gateways then;
    ``probes_failed_before`` the probes that failed in every pod then.

    What a gateway loads may be the same as before: another hand had changed or deleted the object, or only phase,
    priority or selector are new. Then Envoy gets nothing new and shows no new sign, so the pods that were seen running
    it are kept (one that has lost it meanwhile shows that by what it has), and a refusal that was told since the
    earlier write still counts. The same holds for what ran before the present revision: a gateway that refused the
    new one, or never got it, still runs the old one when that is put back.
    """
    awaited = known if known is not None and is_awaited(known, load, carried, stable) else None
    baselines = [one for one in map(observations.make_baseline, before) if one is not None]
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
        since=awaited.since if awaited else timestamps.metav1_micro_time(now),
        load_hash_before=load_hash_before,
        raised_loggers=known.raised_loggers if known else [],
        probes_failed_before=sorted(probes_failed_before),
        refetch=known.refetch if known is not None and known.revision == revision else None,
    )
    return notes.store(noted, begun)


def is_awaited(known: api.Observation, load: str, carried: str | None, stable: str | None) -> bool:
    """Whether the gateways are still at work on this very load since an earlier write."""
    return known.load_hash == load and known.revision == carried != stable


def list_proved(known: api.Observation | None, load: str) -> frozenset[Incarnation]:
    """Return the runs that were seen running this very load."""
    if known is None:
        return frozenset()
    if known.load_hash == load:
        return notes.read(known).loaded
    return notes.read(known).before if known.load_hash_before == load else frozenset()


def find_earlier_proof(known: api.Observation | None, load: str) -> tuple[str, frozenset[Incarnation]]:
    """Return what was proved of another load; of several in a row the last one that was seen running anywhere."""
    if known is None:
        return "", frozenset()
    noted = notes.read(known)
    if known.load_hash == load or not noted.loaded:
        return known.load_hash_before, noted.before
    return known.load_hash, noted.loaded


def keep(known: api.Observation, judged: Verdict, *, at_rest: bool) -> api.Observation:
    """Return the observation after a look: who needs no new proof at the next one, and who has been silent since when.

    ``at_rest``: the revision has run everywhere, so that less of it must be known.
    """
    noted = replace(notes.read(known), loaded=judged.verified, silent=judged.silent)
    if at_rest and judged.state is State.LOADED:
        noted = notes.rest(noted, {pod_mark(row.pod.uid) for row in judged.pods})
        known = known.model_copy(update={"load_hash_before": ""})
    return notes.store(forgive_crash(noted, judged), known)


def forgive_crash(noted: Notes, judged: Verdict) -> Notes:
    """A crash that a neighbour is to blame for is over once the pod is well again; the next one is news."""
    over = {
        pod_mark(row.pod.uid): row.pod.container.restarts
        for row in judged.pods
        if (row.state, row.reason) == (State.UNKNOWN, Reason.GATEWAY_CRASHED) and observations.is_well(row.pod)
    }
    kept = (replace(one, restarts=over.get(one.incarnation.pod, one.restarts)) for one in noted.baselines)
    return replace(noted, baselines=tuple(kept)) if over else noted
