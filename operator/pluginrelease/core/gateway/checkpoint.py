"""What a look at the gateways starts from, as status keeps it: begun before a write, so that a pass that is cut short
after it can be run again."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from pluginrelease import api
from pluginrelease.core import timestamps
from pluginrelease.core.gateway import observations, outage
from pluginrelease.core.gateway.identity import Incarnation
from pluginrelease.core.gateway.observations import Baseline, PodObservation
from pluginrelease.core.gateway.outage import Silence
from pluginrelease.core.gateway.verdict.values import State, Verdict

# the fields that a baseline has in the program and in the API alike
COUNTERS = (
    "config_reload",
    "config_fail",
    "update_rejected",
    "vm_created",
    "vm_reloads",
    "named",
    "digest_hex",
    "crashes",
    "restarts",
    "image",
)


def begin(
    known: api.Observation | None,
    *,
    revision: str,
    load: str,
    carried: str | None,
    stable: str | None,
    before: Iterable[PodObservation],
    failed_before: Collection[str],
    now: datetime,
) -> api.Observation:
    """The observation of a revision that is about to be written.

    ``carried`` is the revision that the object has before the write; ``before`` the look at the gateways then;
    ``failed_before`` the probes that failed in every pod then.

    What a gateway loads may be the same as before: another hand had changed or deleted the object, or only phase,
    priority or selector are new. Then Envoy gets nothing new and shows no new sign, so the pods that were seen running
    it are kept (one that has lost it meanwhile shows that by what it has), and a refusal that was told since the
    earlier write still counts. The same holds for what ran before the present revision: a gateway that refused the
    new one, or never got it, still runs the old one when that is put back.
    """
    same = known if known is not None and known.load == load else None
    unproved = same is not None and same.revision == carried != stable
    awaited = same if unproved else None
    baselines = [
        to_pod_baseline(baseline) for baseline in map(observations.make_baseline, before) if baseline is not None
    ]
    return api.Observation(
        revision=revision,
        load=load,
        since=awaited.since if awaited else timestamps.metav1_micro_time(now),
        baselines=awaited.baselines if awaited else baselines[: api.MAX_OBSERVED_PODS],
        raised_loggers=known.raised_loggers if known else [],
        verified=list_proved(known, load),
        before=find_earlier_proof(known, load),
        failed_before=sorted(failed_before),
        nudge=known.nudge if known is not None and known.revision == revision else None,
    )


def list_proved(known: api.Observation | None, load: str) -> list[api.VerifiedPod]:
    """The pods that were seen running this very load."""
    if known is None:
        return []
    if known.load == load:
        return known.verified
    return known.before.verified if known.before and known.before.load == load else []


def find_earlier_proof(known: api.Observation | None, load: str) -> api.Proof | None:
    """What was proved of another load; of several in a row the last one that was seen running anywhere."""
    if known is None or known.load == load or not known.verified:
        return known.before if known else None
    return api.Proof(load=known.load, verified=known.verified)


def to_verified_pods(pods: Iterable[Incarnation]) -> list[api.VerifiedPod]:
    """As status keeps them, in an order of their own."""
    ordered = sorted(pods, key=lambda incarnation: (incarnation.uid, incarnation.started_at))
    kept = [
        api.VerifiedPod(uid=incarnation.uid, started_at=timestamps.metav1_micro_time(incarnation.started_at))
        for incarnation in ordered
    ]
    return kept[: api.MAX_OBSERVED_PODS]


def from_verified_pods(kept: Iterable[api.VerifiedPod]) -> list[Incarnation]:
    """As status gives them back."""
    return [Incarnation(pod.uid, timestamps.parse_time(pod.started_at)) for pod in kept]


def from_silent_pods(kept: Iterable[api.SilentPod]) -> list[Silence]:
    """As status gives them back."""
    return [Silence(pod.uid, timestamps.parse_time(pod.since)) for pod in kept]


def to_silent_pods(pods: Iterable[Silence]) -> list[api.SilentPod]:
    """As status keeps them."""
    ordered = sorted(pods, key=lambda silence: silence.uid)[: api.MAX_OBSERVED_PODS]
    return [api.SilentPod(uid=silence.uid, since=timestamps.metav1_micro_time(silence.since)) for silence in ordered]


def forgive_crash(known: api.Observation, judged: Verdict) -> api.Observation:
    """A crash that a neighbour is to blame for is over once the pod is well again; the next one is news."""
    over = {
        row.pod.uid: row.pod.container.restarts
        for row in judged.pods
        if (row.state, row.reason) == (State.UNKNOWN, outage.CRASHED) and observations.is_well(row.pod)
    }
    kept = [
        baseline.model_copy(update={"restarts": over.get(baseline.uid, baseline.restarts)})
        for baseline in known.baselines
    ]
    return known.model_copy(update={"baselines": kept}) if over else known


def to_pod_baseline(baseline: Baseline) -> api.PodBaseline:
    """A baseline as status keeps it."""
    run = baseline.incarnation
    counters = {name: getattr(baseline, name) for name in COUNTERS}
    others = timestamps.metav1_micro_time(baseline.others_updated) if baseline.others_updated else None
    return api.PodBaseline(
        uid=run.uid, started_at=timestamps.metav1_micro_time(run.started_at), others_updated=others, **counters
    )


def from_pod_baseline(kept: api.PodBaseline) -> Baseline:
    """A baseline as status gives it back."""
    counters = {name: getattr(kept, name) for name in COUNTERS}
    others = timestamps.parse_time(kept.others_updated) if kept.others_updated else None
    return Baseline(Incarnation(kept.uid, timestamps.parse_time(kept.started_at)), others_updated=others, **counters)
