"""Observe gateway pods: their status, admin interfaces and logs; judge what they show of a candidate."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from pluginrelease.api.reasons import Reason
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.gateway import notes, pods
from pluginrelease.core.gateway.container import BACK_OFF_MAX
from pluginrelease.core.gateway.identity import Incarnation
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.core.gateway.outage import Neighbour
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.core.mesh import target
from pluginrelease.core.rollout import conflict, neighbours, plan
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.rollout.decisions import Goal
from pluginrelease.core.rollout.facts import EntryView
from pluginrelease.core.rollout.probe import PodProbe
from pluginrelease.edges import metrics
from pluginrelease.edges.envoy import observing, probes
from pluginrelease.edges.envoy.dump_cache import READ_ALL, ReadOptions

log = structlog.get_logger(__name__)

# seconds more per pod for one observation: hundreds of them share the processors of the operator and the API server
PER_POD = 0.1
STATUS_PAUSE = 1.0  # seconds between two reads of the pods' status while gateways answer; each pause is longer
NEIGHBOURS_DEADLINE = 3.0  # seconds for the lists that show whose write came last before a crash
WRITE_TIME_DEADLINE = 0.5  # seconds to read when the object was written, before a crash is blamed on that

# how old another release's snapshot may be: during a rollout, and at rest
YOUNG, AT_REST = timedelta(seconds=1), timedelta(seconds=20)

Look = tuple[tuple[PodObservation, ...], Verdict]


async def list_pods(work: PassContext, where: target.Pods, *, fresh: bool = True) -> list[PodRef]:
    """Return the gateway pods, by default as the API server has them now."""
    return pods.select(await work.reader.pods(where, fresh=fresh), where.container)


async def gateway_pods(work: PassContext, candidate: Candidate) -> list[PodRef]:
    """Return the candidate's gateway pods as the API server has them now."""
    return await list_pods(work, candidate.pods(work.mesh))


async def observe_pods(
    work: PassContext, candidate: Candidate, selected: list[PodRef], since: datetime, options: ReadOptions = READ_ALL
) -> tuple[PodObservation, ...]:
    """Return what each of these pods shows of the desired plugin now, with its log after ``since``."""
    counted = work.context.metrics
    with metrics.timed(counted.looks.observe):
        seen = await observing.observe(
            work.cluster,
            selected,
            candidate.wanted(),
            since=since,
            deadline_seconds=work.settings.look_deadline + PER_POD * len(selected),
            settings=replace(work.context.reach, container=candidate.pods(work.mesh).container),
            options=options,
        )
    unreachable = sum(pod.unreachable is not None for pod in seen)
    counted.snapshots.labels("Seen").inc(len(seen) - unreachable)
    counted.snapshots.labels("Unreachable").inc(unreachable)
    return seen


async def observe_statuses(
    work: PassContext, candidate: Candidate, selected: list[PodRef], since: datetime, options: ReadOptions
) -> tuple[PodObservation, ...]:
    """Return what the status of these pods shows of containers that ended after ``since``."""
    reach = replace(work.context.reach, container=candidate.pods(work.mesh).container)
    return await observing.observe_status(work.cluster, selected, since=since, settings=reach, options=options)


async def look_before(work: PassContext, candidate: Candidate) -> tuple[PodObservation, ...]:
    """Observe every gateway pod before a write: its Envoy's version and its counters."""
    context = work.context
    since = work.now() - YOUNG
    options = ReadOptions(cache=context.memory, shared=context.snapshots, not_before=since, before_write=True)
    return await observe_pods(work, candidate, await gateway_pods(work, candidate), work.now(), options)


async def ask_probes(
    work: PassContext, entry: EntryView, reached: Sequence[PodObservation], *, written: bool = True
) -> tuple[PodProbe, ...]:
    """Return what these gateways answer to the release's probes. ``written``: False before the write."""
    return await probes.ask(
        work.cluster,
        reached,
        entry.release.spec.checks.probes,
        deadline_seconds=work.settings.probe_deadline,
        settings=work.context.reach,
        written=written,
    )


async def judge(work: PassContext, entry: EntryView, candidate: Candidate) -> Look:
    """Return what the gateways show, and the verdict."""
    seen, judged = await see(work, entry, candidate)
    if is_proven(work, entry, candidate) or not any(row.reason.means_gateway_down for row in judged.pods):
        return seen, judged
    return seen, weigh(work, entry, candidate, seen, await neighbours_in_time(work, entry, candidate))


def is_proven(work: PassContext, entry: EntryView, candidate: Candidate) -> bool:
    """Return whether the candidate has run everywhere: then nothing that gateways show causes a rollback."""
    return entry.is_settled(candidate) and not entry.is_watched(candidate.revision, work.now())


async def glance(work: PassContext, entry: EntryView, candidate: Candidate) -> Look | None:
    """Return what the pods' status shows of a crash of the candidate, without a request to the pods.

    None if there is no such crash, or if another release is the more likely cause.
    """
    known = entry.observation
    since, options = known.since, read_options(work, entry, candidate, notes.read(known).loaded, peek=True)
    selected = await list_pods(work, candidate.pods(work.mesh), fresh=False)
    seen = await observe_statuses(work, candidate, selected, since, options)
    if weigh(work, entry, candidate, seen).reason is not Reason.GATEWAY_CRASHED:
        return None
    written_at = await ask_write_time(work, entry, candidate)
    judged = weigh(work, entry, candidate, seen, await neighbours_in_time(work, entry, candidate), written_at)
    is_ours = (judged.state, judged.reason) == (State.UNHEALTHY, Reason.GATEWAY_CRASHED)
    return (seen, judged) if is_ours else None


async def see(work: PassContext, entry: EntryView, candidate: Candidate) -> Look:
    """Observe every pod; in a rollout, return as soon as a pod's status shows a crash.

    A gateway that hangs beside one that crashes would delay this for its whole deadline.
    """
    known = entry.observation
    since = known.since
    options = read_options(work, entry, candidate, notes.read(known).loaded)
    selected = await gateway_pods(work, candidate)
    looking = asyncio.ensure_future(observe_pods(work, candidate, selected, since, options))
    try:
        pause = STATUS_PAUSE
        while not is_proven(work, entry, candidate):
            at_once = await observe_statuses(work, candidate, selected, since, options)
            judged = weigh(work, entry, candidate, at_once)
            if judged.reason is Reason.GATEWAY_CRASHED:
                return at_once, judged
            if (await asyncio.wait({looking}, timeout=pause))[0]:
                break
            pause *= 1.5
            with contextlib.suppress(ReleaseError):  # the observation continues, and reports the error
                selected = await gateway_pods(work, candidate)
        seen = await looking
        return seen, weigh(work, entry, candidate, seen)
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


def weigh(
    work: PassContext,
    entry: EntryView,
    candidate: Candidate,
    seen: Sequence[PodObservation],
    known_neighbours: Collection[Neighbour] = (),
    written_at: datetime | None = None,
) -> Verdict:
    """Return the verdict of these observations on the candidate."""
    known = entry.observation
    noted, where = notes.read(known), candidate.pods(work.mesh)
    return judging.judge(
        candidate.wanted(),
        seen,
        write_at=known.since,
        baselines=noted.baselines,
        verified=noted.loaded,
        load_timeout=entry.load_timeout,
        settled=entry.is_settled(candidate),
        watched=entry.is_watched(candidate.revision, work.now()),
        silent=noted.silent,
        neighbours=known_neighbours,
        looked_for=str(where),
        hint=where.hint,
        # the container must run only after the kubelet has restarted it
        back_off=BACK_OFF_MAX if entry.report.intent.goal is Goal.ROLLBACK else timedelta(),
        may_run_already=entry.may_run_already(candidate),
        written_at=known.written_at or written_at or read_write_time(entry.entry.carrier, candidate),
        deliverable_since=known.deliverable_since,
    )


def read_write_time(carrier: dict[str, Any] | None, candidate: Candidate) -> datetime | None:
    """Return when the object was written that carries the candidate; None if it carries another revision."""
    return plan.read_write_time(carrier) if plan.read_revision(carrier) == candidate.revision else None


async def ask_write_time(work: PassContext, entry: EntryView, candidate: Candidate) -> datetime | None:
    """Return the same where the object was not read yet; a late answer does not keep a gateway down."""
    try:
        async with asyncio.timeout(WRITE_TIME_DEADLINE):
            return read_write_time(await work.reader.carrier(entry.placement()), candidate)
    except (ReleaseError, TimeoutError) as error:
        log.warning("could not read the time of the write", error=str(error))
        return None


def read_options(
    work: PassContext, entry: EntryView, candidate: Candidate, proved: Collection[Incarnation], *, peek: bool = False
) -> ReadOptions:
    """Return what to read of gateways: only what is new if they were seen running this revision.

    After a start it is everything, because nothing was read while no operator ran. Another release's snapshot counts if
    it began after this release's write and is young. It may be older if the release is settled and its spec has not
    changed. ``peek``: do not note this read.
    """
    now, key, looks = work.now(), (entry.release.metadata.uid, entry.name), work.context.looks
    last = looks.get(key)
    recent = min(last, now - timedelta(seconds=2 * work.settings.resync)) if last else None
    if not peek:
        looks[key] = now
    is_same_spec = entry.release.status.observed_generation == entry.release.metadata.generation
    age = AT_REST if is_same_spec and entry.is_settled(candidate) else YOUNG
    wrote = work.context.wrote.get(entry.release.metadata.uid, entry.observation.since)
    not_before = max(now - age, entry.observation.since, wrote)
    return ReadOptions(proved, recent, work.context.memory, work.context.snapshots, not_before)


async def neighbours_in_time(work: PassContext, entry: EntryView, candidate: Candidate) -> list[Neighbour]:
    """Return the releases that may be the cause. A late answer does not delay the rollback: then it is none."""
    try:
        async with asyncio.timeout(NEIGHBOURS_DEADLINE):
            return await find_neighbours(work, entry, candidate)
    except (ReleaseError, TimeoutError) as error:
        log.warning("could not list the other releases on these gateways", error=str(error))
        return []


async def find_neighbours(work: PassContext, entry: EntryView, candidate: Candidate) -> list[Neighbour]:
    """Return the other releases that have written to some of the candidate's gateway pods."""
    mine = conflict.pods_of(candidate.placement, work.mesh)
    # a release that cannot be read reports that itself
    others, _ = work.context.readings.sort_out(await work.reader.releases_on(mine))
    found = []
    for other, name, theirs in neighbours.find_neighbour_entries(entry.release, others, work.mesh, work.now()):
        shared = mine.shared_with(theirs)
        if shared is not None:
            there = await work.reader.pods(shared)
            found.append(neighbours.make_neighbour(other, name, (pod["metadata"]["uid"] for pod in there)))
    return [neighbour for neighbour in found if neighbour is not None]
