"""Judge observations of pods: Loaded, Pending, Unhealthy or Unknown, each with a reason and evidence.

docs/signs.md has the table of signs and the list of reasons. In short: a pod is Loaded when every mandatory sign holds
and at least one positive sign was seen. The absence of bad signs is no sign. Envoy shows a refused configuration as
current, acknowledges the same refused bytes when they come again, and then logs nothing more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway import outage
from pluginrelease.core.gateway.container import BACK_OFF
from pluginrelease.core.gateway.identity import DesiredPlugin, Incarnation, pod_mark
from pluginrelease.core.gateway.observations import Baseline, FilterKind, PodObservation, identify_run
from pluginrelease.core.gateway.outage import Life, Neighbour, Silence
from pluginrelease.core.gateway.verdict import cases, crash, delivery, proof, refusal, workers
from pluginrelease.core.gateway.verdict.cases import PodCase
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict

MAX_NAMES = 3
WHY_NOT_READY = "whether it would run the plugin is not known. Run `kubectl describe pod` to see why."
WHY_BACK_OFF = (
    f"The kubelet waits up to five minutes before it restarts the container ({BACK_OFF}). Delete the pod to replace it "
    "at once."
)
_WORST_FIRST = (State.UNHEALTHY, State.UNKNOWN, State.PENDING, State.LOADED)


def judge(
    wanted: DesiredPlugin,
    sightings: Sequence[PodObservation],
    *,
    write_at: datetime,
    baselines: Collection[Baseline] = (),
    verified: Collection[Incarnation] = (),
    load_timeout: timedelta,
    settled: bool = False,
    watched: bool = False,
    silent: Collection[Silence] = (),
    neighbours: Collection[Neighbour] = (),
    looked_for: str = "",
    hint: str = "",
    back_off: timedelta = timedelta(),
    may_run_already: bool = False,
    written_at: datetime | None = None,
    deliverable_since: datetime | None = None,
) -> Verdict:
    """Judge the observations of all selected pods for the wanted revision, written at ``write_at``.

    * ``baselines`` are from before the write.
    * ``verified``: the runs that were Loaded with this very revision.
    * ``load_timeout``: the time of each pod, from the write, from ``deliverable_since`` or from the last change of its
      readiness, whichever is latest.
    * ``settled``: the revision has run everywhere, so that a new pod only joins the others.
    * ``watched``: a crash counts as one of a revision that has not run everywhere.
    * ``silent``: pods that did not answer at the check before.
    * ``neighbours``: releases that wrote to some of the pods.
    * ``looked_for``: how gateway pods are found; ``hint``: what to do if there are none.
    * ``back_off``: additional time for a pod whose container the kubelet has not started again yet.
    * ``may_run_already``: the same plugin may have run before, for example after an adoption.
    * ``written_at``: when the API server accepted the write, in whole seconds; None if unknown.
    * ``deliverable_since``: when the control plane could send the revision, if that was later than the write.
    """
    seen = [sighting for sighting in sightings if not sighting.pod.deleting]
    if not seen:
        return _report_nobody(looked_for, hint)
    proven = settled and not watched
    gathered = (_gather_life(sighting, write_at, baselines, silent, settled=proven) for sighting in seen)
    lives = [replace(life, written_at=written_at) for life in gathered]
    fallen = sum(outage.count_ends(life) > 0 for life in lives)
    before = {baseline.incarnation: baseline for baseline in baselines}
    known = frozenset(verified)
    begins_at = max(write_at, deliverable_since or write_at)
    rows = []
    proved = set()
    for life in lives:
        sighting, run = life.sighting, identify_run(life.sighting)
        late = _is_late(sighting, begins_at, load_timeout, back_off)
        baseline = before.get(run) if run else None
        case = PodCase(wanted, sighting, write_at, baseline, known, run in known, late, life, may_run_already)
        row = _check_outage(case, fallen, load_timeout, neighbours) or _judge_pod(case)
        rows.append(row)
        proved |= _keep_proofs(case, row, run)
    rows.sort(key=_rank)
    silences = tuple(Silence(pod_mark(life.sighting.pod.uid), life.silent_since) for life in lives if life.silent_since)
    return replace(_summarize(rows, frozenset(proved), settled=settled), silent=silences)


def _is_late(sighting: PodObservation, begins_at: datetime, load_timeout: timedelta, back_off: timedelta) -> bool:
    """Return True if a pod has had its whole time to load the revision."""
    patience = load_timeout + (back_off if sighting.pod.container.waiting == BACK_OFF else timedelta())
    return sighting.at > max(begins_at, sighting.pod.turned_at or begins_at) + patience


def _report_nobody(looked_for: str, hint: str) -> Verdict:
    by = f" (looked for: {looked_for})" if looked_for else ""
    message = f"No gateway pod exists to load the plugin{by}. The operator checks it when one appears. {hint}"
    return Verdict(State.PENDING, Reason.NO_GATEWAY_PODS, message.rstrip())


def _rank(row: PodVerdict) -> tuple[int, bool, str, str]:
    """Sort key: the worst first, and among the unhealthy first those that are down, because they cause the rollback."""
    return _WORST_FIRST.index(row.state), not row.reason.means_gateway_down, row.pod.namespace, row.pod.name


def _gather_life(
    sighting: PodObservation,
    write_at: datetime,
    baselines: Collection[Baseline],
    silent: Collection[Silence],
    *,
    settled: bool,
) -> Life:
    pod = pod_mark(sighting.pod.uid)
    well = next(
        (baseline for baseline in baselines if baseline.incarnation.pod == pod and baseline.restarts is not None), None
    )
    began = sighting.at - sighting.silent if sighting.silent is not None else None
    known = next((silence.since for silence in silent if silence.pod == pod), began)
    return Life(sighting, write_at, well, settled, known if began else None)


def has_crashed(sightings: Collection[PodObservation], write_at: datetime, baselines: Collection[Baseline]) -> bool:
    """Return True if a gateway that was well before the write at ``write_at`` has crashed since."""
    lives = [
        _gather_life(sighting, write_at, baselines, (), settled=False)
        for sighting in sightings
        if not sighting.pod.deleting
    ]
    fallen = sum(outage.count_ends(life) > 0 for life in lives)
    return any(outage.find_crash(life, fallen) for life in lives)


def _keep_proofs(case: PodCase, row: PodVerdict, run: Incarnation | None) -> set[Incarnation]:
    """Return the proofs that hold at the next check.

    A plugin that the gateway restarts needs no new proof. One that stays down does, so that its pod's log is read from
    the write on until it is repaired.
    """
    if row.reason.means_not_asked or row.reason.means_gateway_down:
        pod = pod_mark(row.pod.uid)
        return {known for known in case.known if known.pod == pod}
    if row.reason.means_crash and cases.restarts_plugin(case) and case.verified:
        return {run} if run else set()
    return {run} if run and row.reason is Reason.LOADED else set()


def _summarize(rows: Sequence[PodVerdict], proved: frozenset[Incarnation], *, settled: bool) -> Verdict:
    worst = rows[0]
    loaded = sum(row.state is State.LOADED for row in rows)
    coming = [row.pod.name for row in rows if row.state is State.PENDING]
    if loaded == len(rows):
        pods = "The gateway pod runs" if loaded == 1 else f"All {loaded} gateway pods run"
        return Verdict(State.LOADED, *_describe_loaded(f"{pods} the plugin.", rows), tuple(rows), proved)
    if settled and loaded and loaded + len(coming) == len(rows):
        message = f"{_count_pods(loaded)} the plugin; {_name_coming(coming)}."
        return Verdict(State.LOADED, *_describe_loaded(message, rows), tuple(rows), proved)
    message = f"{loaded} of {len(rows)} gateway pods run the plugin; {worst.pod.name}: {worst.message}"
    return Verdict(worst.state, worst.reason, message, tuple(rows), proved)


def _describe_loaded(message: str, rows: Sequence[PodVerdict]) -> tuple[Reason, str]:
    """Return reason and message, with the number of pods that run it since before the write."""
    unproven = [row.pod.name for row in rows if row.reason is Reason.RUNNING_NOT_PROVEN]
    if not unproven:
        return Reason.LOADED, message
    shown = _list_names(unproven)
    return Reason.RUNNING_NOT_PROVEN, (
        f"{message.rstrip('.')}, {len(unproven)} of them since before the write ({shown}): running, not proven by a "
        "new load until the next start."
    )


def _count_pods(loaded: int) -> str:
    return "1 gateway pod runs" if loaded == 1 else f"{loaded} gateway pods run"


def _list_names(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMES]) + (", …" if len(names) > MAX_NAMES else "")


def _name_coming(names: Sequence[str]) -> str:
    shown = _list_names(names)
    return f"1 is coming up: {shown}" if len(names) == 1 else f"{len(names)} are coming up: {shown}"


def nothing_arrived(verdict: Verdict) -> bool:
    """Return True if no gateway that answered has received what is wanted.

    At least one of them still waits for it, or has waited too long.
    A gateway that has the code with the earlier configuration has received nothing, either.
    """
    asked = [row.reason for row in verdict.pods if not row.reason.means_not_asked]
    return bool(asked) and all(reason.means_not_delivered or reason is Reason.CONFIG_MISMATCH for reason in asked)


def leave_open(verdict: Verdict) -> Verdict:
    """Return the verdict without a failure: the operator could not read whether the control plane is stuck.

    Nothing has arrived at any gateway, so a rollback has no hurry. The next check asks again.
    """
    return replace(verdict, state=State.UNKNOWN) if verdict.state is State.UNHEALTHY else verdict


def report_stuck(verdict: Verdict, unreadable: Sequence[str]) -> Verdict:
    """Return the verdict if the control plane reads no object at all.

    Neither the revision nor the gateways are to blame, and a rollback would not reach the gateways either. So the
    revision is held.
    """
    more = f" and {len(unreadable) - MAX_NAMES} more" if len(unreadable) > MAX_NAMES else ""
    message = (
        f"Nothing arrives at any gateway: the control plane can read no WasmPlugin as long as it cannot read "
        f"{', '.join(unreadable[:MAX_NAMES])}{more}. Correct or delete what is named there. The operator waits. It "
        "restores nothing, because that would not arrive either."
    )
    rows = tuple(PodVerdict(row.pod, State.UNKNOWN, Reason.CONTROL_PLANE_STUCK, message) for row in verdict.pods)
    return Verdict(State.UNKNOWN, Reason.CONTROL_PLANE_STUCK, message, rows, verdict.verified)


def _judge_pod(case: PodCase) -> PodVerdict:
    """Return the verdict of the first check that has one."""
    return (
        _check_reached(case)
        or _check_understood(case)
        or delivery.check_fetched(case)
        or delivery.check_delivered(case)
        or refusal.check_accepted(case)
        or delivery.check_attached(case)
        or crash.check_crashes(case)
        or workers.check_workers(case)
        or proof.prove(case)
    )


def _check_outage(
    case: PodCase, fallen: int, load_timeout: timedelta, neighbours: Collection[Neighbour]
) -> PodVerdict | None:
    """Return a verdict if the gateway crashed or hangs since the write.

    If two releases wrote to it, the later one is blamed.
    """
    uid = case.sighting.pod.uid
    pod = pod_mark(uid)
    answered = case.life.well is not None or any(known.pod == pod for known in case.known)
    down = outage.find_crash(case.life, fallen) or (outage.find_hang(case.life, load_timeout) if answered else None)
    if down is None:
        return None
    theirs = outage.find_blamed_first(down, uid, case.write_at, neighbours)
    if theirs is None:
        return case.row(State.UNHEALTHY, down.reason, down.message, *down.lines)
    hint = f"PluginRelease {theirs.name} wrote to this gateway later, so this one is not blamed for it yet."
    return case.row(State.UNKNOWN, down.reason, f"{down.message} {hint}", *down.lines)


def _check_reached(case: PodCase) -> PodVerdict | None:
    sighting = case.sighting
    if not sighting.pod.ready:
        detail = f" ({sighting.unreachable})" if sighting.unreachable else ""
        lines = [cases.quote(event) for event in sighting.log.events[-1:]]
        if (hung := workers.check_unready(case)) is not None:
            return hung
        if case.late:
            return case.row(
                State.UNKNOWN, Reason.POD_NOT_READY, f"The pod is not ready{detail}: {WHY_NOT_READY}", *lines
            )
        waits = f" {WHY_BACK_OFF}" if sighting.pod.container.waiting == BACK_OFF else ""
        return case.row(State.PENDING, Reason.POD_NOT_READY, f"The pod is not ready yet{detail}.{waits}", *lines)
    if sighting.unreachable:
        message = f"The operator could not read the gateway: {sighting.unreachable.rstrip('.')}."
        return case.report_waiting(Reason.POD_UNREACHABLE, message, then=(State.UNKNOWN, Reason.POD_UNREACHABLE))
    return None


def _check_understood(case: PodCase) -> PodVerdict | None:
    """Return a verdict if something was not understood: that is not healthy."""
    strange = list(case.sighting.unknown)
    for entry in case.sighting.entries:
        if entry.kind is FilterKind.OTHER:
            strange.append(f"the filter {entry.name} is a {entry.type_url or 'nothing'}")
        elif entry.kind is FilterKind.WASM and entry.digest_hex is None:
            strange.append(f"the code of {entry.name} is not a file named by a digest")
    if not strange:
        return None
    message = f"The gateway answered in a way that this version does not understand: {'; '.join(strange)}."
    return case.row(State.UNKNOWN, Reason.UNKNOWN_SHAPE, message)
