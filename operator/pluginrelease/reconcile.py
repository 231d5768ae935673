"""One pass over one release: look at the world, decide in `core`, act, and end in `status.settle`.

A pass starts from what is in the API server and nothing else. What must survive the operator's death is noted in the
status before the act that needs it, so a pass that was cut short anywhere is simply run again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import structlog

from pluginrelease import artifacts, loggers, pullsecrets, revisions
from pluginrelease.artifacts import Found
from pluginrelease.core import (
    api,
    challenge,
    compat,
    duration,
    history,
    istio,
    moment,
    nudges,
    observation,
    plan,
    pods,
    probation,
    revision,
    rival,
    rollout,
    status,
    verdict,
)
from pluginrelease.core.api import ConditionType
from pluginrelease.core.artifact import Artifact
from pluginrelease.core.envoy import Kind, PodRef, Sighting, Wanted
from pluginrelease.core.errors import Refused, ReleaseError, Transient, Waiting
from pluginrelease.core.probe import PodProbe
from pluginrelease.core.rollout import Goal, Intent
from pluginrelease.core.status import Event, Failure, Finding, Report
from pluginrelease.core.verdict import Verdict
from pluginrelease.edges import cluster as clusters
from pluginrelease.edges import gateways, probes
from pluginrelease.edges.cluster import Cluster
from pluginrelease.edges.registry import Access
from pluginrelease.settings import Settings

JSON = dict[str, Any]
Made = TypeVar("Made")

log = structlog.get_logger(__name__)

# seconds: a rollback does not wait long for a registry, as traffic may be wrong meanwhile
FETCHABLE_DEADLINE = 15.0
NUDGE_DEADLINE = 5.0


def utc_now() -> datetime:
    """The only clock of the operator."""
    return datetime.now(UTC)


class Gates:
    """Writes of one release, one at a time, and none any more once its clean-up has begun.

    A daemon may be cancelled while its write is on the way to the API server: the write is awaited all the same, and
    the clean-up waits for it, so that nothing appears after the clean-up has looked.
    """

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._closed: set[str] = set()

    async def write(self, uid: str, act: Callable[[], Awaitable[Made]]) -> Made:
        """Runs one write to its end, also when the caller is cancelled; raises `Waiting` after `close`."""
        return await asyncio.shield(self._locked(uid, act))

    async def _locked(self, uid: str, act: Callable[[], Awaitable[Made]]) -> Made:
        async with self._lock(uid):
            if uid in self._closed:
                raise Waiting("Deleting", "the PluginRelease is being deleted")
            return await act()

    async def close(self, uid: str) -> None:
        """No more writes; returns when the last one has ended."""
        self._closed.add(uid)
        async with self._lock(uid):
            return

    def forget(self, uid: str) -> None:
        """The release is gone."""
        self._locks.pop(uid, None)
        self._closed.discard(uid)

    def _lock(self, uid: str) -> asyncio.Lock:
        return self._locks.setdefault(uid, asyncio.Lock())


@dataclass(frozen=True)
class World:
    """Everything a pass works with."""

    cluster: Cluster
    settings: Settings
    shelf: artifacts.Shelf
    gates: Gates = field(default_factory=Gates)
    now: Callable[[], datetime] = utc_now

    @property
    def reach(self) -> gateways.Settings:
        """How gateways are reached."""
        return gateways.Settings(admin_port=self.settings.gateway_admin_port, container=self.settings.gateway_container)


async def reconcile(world: World, release: api.Release, *, attempt: int) -> status.Ending:
    """One pass and its one ending; the status is written whatever happened.

    ``attempt`` counts the passes in a row that did not settle. Raises `Transient` only when the status itself cannot
    be written.
    """
    work = Pass(world, release)
    failure = await attempt_pass(work)
    if failure is not None and failure.step not in (ConditionType.LOADED, ConditionType.PROBED):
        await work.put_loggers_back()
    ending = status.settle(
        work.release,
        replace(work.report, failure=failure),
        now=world.now(),
        attempt=attempt,
        resync=world.settings.resync,
    )
    if ending.status != work.release.status:
        await world.cluster.apply_status(work.release, ending.status)
    return ending


async def attempt_pass(work: Pass) -> Failure | None:
    """Runs the pass; an error becomes a value. A fault of ours is told as one and tried again."""
    try:
        await work.run()
    except ReleaseError as error:
        log.info("pass ended early", step=str(work.step), reason=error.reason, message=error.message)
        return Failure(work.step, error)
    except Exception as error:
        log.exception("internal error", step=str(work.step))
        text = f"the operator failed with {type(error).__name__}; its log has the details"
        return Failure(work.step, Transient("InternalError", text, "Please report it"))
    return None


@dataclass(frozen=True)
class Candidate:
    """What the gateways are to run: the release with a revision's artifact, gateway and plugin, and the artifact."""

    release: api.Release
    artifact: api.ArtifactStatus

    @property
    def revision(self) -> str:
        return revision.identity(self.release.spec, self.artifact.digest)

    @property
    def load(self) -> str:
        return revision.load(self.release.spec, self.artifact.digest)

    def wanted(self) -> Wanted:
        """What every gateway pod should run."""
        spec = self.release.spec
        return Wanted(
            namespace=spec.gateway.namespace,
            name=istio.object_name(self.release),
            digest_hex=self.artifact.digest.removeprefix("sha256:"),
            config=spec.plugin.config,
            fail_strategy=str(spec.plugin.fail_strategy),
        )


@dataclass
class Pass:
    """The steps, in order; ``step`` is the one under way, ``report`` what has been learned."""

    world: World
    release: api.Release
    step: ConditionType = ConditionType.APPLIED
    report: Report = field(default_factory=Report)
    start: rollout.Start | None = None

    async def run(self) -> None:
        """What the gateways are to run was decided before: by the spec, or by what became of it."""
        self.check_alive()
        if self.release.spec.suspend:
            await self.put_loggers_back()
            self.learn(suspended=True)
            return
        self.start = rollout.start(self.release, self.world.now())
        self.learn(rollout=self.start.rollout, handled=self.start.handled)
        if self.start.anew:
            self.rest_nudges()
        await self.check_permission()
        intent = rollout.intent(self.start.rollout)
        if intent.goal is Goal.TAKEN_OFF:
            await self.take_off()
            return
        candidate = await self.bring(intent)
        await self.keep_secret_in_step(candidate)
        await self.look(candidate)

    async def bring(self, intent: Intent) -> Candidate:
        """Either everything stands as wanted and only the look remains, or the whole way is gone."""
        observed = await self.observe()
        settled = await self.settled(intent, observed)
        if settled is not None:
            return settled
        if observed is not None:
            plan.claim(self.release, observed)
        match intent:
            case Intent(Goal.PUT_BACK, str(kept)):
                return await self.put_back(kept, observed)
            case Intent(Goal.OLD, str(kept)):
                recorded = await revisions.recalled(self.world.cluster, self.release, kept)
                return await self.roll_out(revision.effective(self.release, recorded), observed)
            case _:
                return await self.roll_out(self.release, observed)

    # ------------------------------------------------------------------------------- what was there

    def check_alive(self) -> None:
        """Nothing is written for a release that is going, as its clean-up may be under way, or that says nonsense."""
        if self.release.metadata.deletion_timestamp:
            raise Waiting("Deleting", "the PluginRelease is being deleted")
        self.load_timeout()
        self.progress_deadline()

    def load_timeout(self) -> timedelta:
        """How long a gateway has to show the plugin."""
        return duration.parse(self.release.spec.checks.load.timeout)

    def progress_deadline(self) -> timedelta:
        """How long a rollout may take."""
        return duration.parse(self.release.spec.rollout.progress_deadline)

    async def check_permission(self) -> None:
        """The gateway's namespace must allow the release's; raises `Refused` (NamespaceNotAllowed)."""
        self.step = ConditionType.APPLIED
        if istio.is_local(self.release):
            return
        theirs = self.release.spec.gateway.namespace
        found = await self.world.cluster.get(clusters.NAMESPACES, None, theirs)
        if found is None:
            raise Waiting(
                "NamespaceNotFound",
                f"gateway.namespace names {theirs}, which does not exist",
                "Create it, or make a new PluginRelease that names another",
            )
        plan.check_allowed(self.release, found)

    async def observe(self) -> JSON | None:
        """The WasmPlugin as it is now."""
        name = istio.object_name(self.release)
        return await self.world.cluster.get(clusters.WASM_PLUGINS, self.release.spec.gateway.namespace, name)

    async def settled(self, intent: Intent, observed: JSON | None) -> Candidate | None:
        """The candidate, when the object in the cluster is what it wants: nothing needs to be fetched or checked."""
        known = self.release.status.observation
        if observed is None or known is None:
            return None
        candidate = await self.remembered(intent)
        if candidate is None or candidate.revision != known.revision:
            return None
        if not plan.draft(self.release, [(self.rendered(candidate), observed)]).converged:
            return None
        self.aim(intent, candidate)
        await self.note_deployed(intent, candidate)
        return candidate

    async def remembered(self, intent: Intent) -> Candidate | None:
        """The candidate without asking any registry, where that can be."""
        if intent.goal is not Goal.SPEC and intent.revision is not None:
            recorded = await revisions.recalled(self.world.cluster, self.release, intent.revision)
            return Candidate(revision.effective(self.release, recorded), recorded.artifact)
        pinned = self.pinned()
        if pinned is None or not status.stands(self.release.status):
            return None
        return Candidate(self.release, pinned)

    def pinned(self) -> api.ArtifactStatus | None:
        """The digest that this reference was settled on: a tag is not asked again while the release holds it."""
        if self.start is not None and self.start.anew:
            return None
        known, image = self.release.status.artifact, self.release.spec.artifact
        failed = {it.type for it in self.release.status.conditions if it.status == "False"}
        stalled = any(it.type == ConditionType.STALLED for it in self.release.status.conditions)
        # only a refusal lets the pin go: a registry that did not answer says nothing about the artifact
        passed = not (stalled and failed & {ConditionType.ARTIFACT_READY, ConditionType.COMPATIBLE})
        matches = known is not None and known.ref == image.image.ref
        right = known is not None and image.wasm_sha256 in (None, known.wasm_sha256)
        return known if passed and matches and right else None

    # ------------------------------------------------------------------------------- the whole way

    async def roll_out(self, effective: api.Release, observed: JSON | None) -> Candidate:
        """Artifact → compatibility → write; nothing is written before all that can be known is known."""
        found = await self.obtain_artifact(effective)
        intent = self.intent()
        candidate = Candidate(effective, described(effective.spec.artifact.image.ref, found.artifact))
        self.aim(intent, candidate)
        self.told_artifact(candidate)
        before = await self.look_before(candidate)
        self.check_compatibility(found, before)
        self.step = ConditionType.APPLIED
        await self.check_rivals()
        self.note_adoption(observed)
        recorded = await revisions.keep(self.world.cluster, effective, candidate.artifact)
        self.learn(deployed=deployed(recorded))
        await self.write(candidate, observed, before)
        self.find(
            ConditionType.APPLIED, "True", "Applied", f"{self.target_name()} carries revision {candidate.revision}"
        )
        return candidate

    async def put_back(self, kept: str, observed: JSON | None) -> Candidate:
        """The stable revision in full, after a failure. It ran before, so only whether it can be fetched is asked."""
        self.step = ConditionType.APPLIED
        recorded = await revisions.recalled(self.world.cluster, self.release, kept)
        candidate = Candidate(revision.effective(self.release, recorded), recorded.artifact)
        self.aim(self.intent(), candidate)
        before = await self.look_before(candidate)
        self.step = ConditionType.APPLIED
        await self.check_fetchable(candidate, before)
        await self.write(candidate, observed, before)
        self.find(ConditionType.APPLIED, "True", "RolledBack", f"{self.target_name()} carries revision {kept} again")
        return candidate

    async def check_fetchable(self, candidate: Candidate, before: Collection[Sighting]) -> None:
        """Raises `Waiting` (RollbackBlocked) when gateways could not fetch what is to be put back.

        A gateway that refused the new revision still runs the old code; told to load it anew from a registry that has
        it no longer, it would answer 403 to everyone. Where that happens already, there is nothing to lose.
        """
        if any(entry.kind in (Kind.RBAC_DENY, Kind.RBAC_ALLOW) for one in before for entry in one.entries):
            return
        reference = artifacts.reference_of(candidate.artifact.image, None)
        access = replace(await self.access(candidate.release), deadline_seconds=FETCHABLE_DEADLINE)
        try:
            await self.world.shelf.ask(reference, access)
        except ReleaseError as error:
            raise Waiting(
                "RollbackBlocked",
                f"revision {candidate.revision} is not put back, as {candidate.artifact.image} could not be fetched: "
                f"{error.reason}: {error.message}",
                "What the gateways run is left alone. Push the image again, or correct the spec",
                retry_after=plan.RECHECK,
            ) from error

    async def obtain_artifact(self, effective: api.Release) -> Found:
        """Resolve, fetch, check."""
        self.step = ConditionType.ARTIFACT_READY
        spec = effective.spec.artifact
        pinned = self.pinned() if effective is self.release else None
        reference = artifacts.reference_of(spec.image.ref, pinned.digest if pinned else None)
        found = await self.world.shelf.obtain(reference, await self.access(effective))
        artifacts.check_bytes(found.artifact, spec.wasm_sha256)
        return found

    def told_artifact(self, candidate: Candidate) -> None:
        """The condition ArtifactReady."""
        known = candidate.artifact
        self.find(
            ConditionType.ARTIFACT_READY,
            "True",
            "ArtifactReady",
            f"{known.ref} is {known.digest}, {known.layout}, {known.size} bytes of Wasm, built with "
            f"{known.toolchain or 'an unknown toolchain'}",
        )

    async def access(self, effective: api.Release) -> Access:
        """How the operator pulls: with the secret that the gateways will use."""
        settings, image = self.world.settings, effective.spec.artifact.image
        return Access(
            insecure=image.insecure,
            dockerconfigjson=await pullsecrets.content(self.world.cluster, effective),
            deadline_seconds=settings.pull_deadline,
            max_bytes=settings.pull_max_bytes,
            allow_private_realms=settings.allow_private_realms,
        )

    async def look_before(self, candidate: Candidate) -> tuple[Sighting, ...]:
        """Every gateway pod before the write: its Envoy's version and its counters."""
        self.step = ConditionType.COMPATIBLE
        return await self.sightings(candidate, await self.gateway_pods(candidate), self.world.now())

    def check_compatibility(self, found: Found, before: Collection[Sighting]) -> None:
        """The condition Compatible: True, or Unknown with a warning; raises `Refused` when a gateway cannot load it."""
        versions = {sighting.envoy_version or "unknown" for sighting in before}
        answer = compat.judge(found.artifact.module, versions)
        if answer.state is compat.State.INCOMPATIBLE:
            raise Refused(answer.reason, answer.message, answer.remedy)
        meshes = {sighting.istio_version for sighting in before if sighting.istio_version}
        challenge.judge(found.artifact.reference.registry, found.challenges, meshes)
        state: status.TriState = "True" if answer.state is compat.State.COMPATIBLE else "Unknown"
        self.find(ConditionType.COMPATIBLE, state, answer.reason, answer.sentence())

    async def check_rivals(self) -> None:
        """Raises `Refused` (DuplicatePlugin) when an older release puts the same plugin on the same pods."""
        listed = await self.world.cluster.list(clusters.RELEASES, None, {})
        others = [api.Release.model_validate(other) for other in listed]
        root = self.world.settings.istio_root_namespace
        for elder in rival.elders(self.release, others, root):
            namespace, labels = rival.common_ground(self.release.spec, elder.spec, root)
            shared = await self.world.cluster.list(clusters.PODS, namespace, labels)
            if pods.select(shared, self.world.settings.gateway_container):
                raise rival.refused(elder)

    async def write(self, candidate: Candidate, observed: JSON | None, before: Collection[Sighting]) -> None:
        """Notes first what a look will need: since when to read logs, the counters, and the loggers to put back."""
        await self.apply_all(await pullsecrets.writes(self.world.cluster, candidate.release))
        drafted = plan.draft(self.release, [(self.rendered(candidate), observed)])
        self.tell_drift(candidate, observed, drafted)
        await self.begin_observation(candidate, before, plan.carried(observed), writing=drafted.reaches_gateways)
        applied = await self.apply_all(drafted.writes)
        self.wrote(applied or observed or self.rendered(candidate))

    def tell_drift(self, candidate: Candidate, observed: JSON | None, drafted: plan.Plan) -> None:
        """Another hand changed or deleted what this revision had written."""
        known, target = self.release.status.observation, self.release.status.target
        was_written = known is not None and known.revision == candidate.revision and target is not None
        if was_written and drafted.reaches_gateways and plan.carried(observed) in (None, candidate.revision):
            [write] = drafted.writes
            message = f"{self.target_name()} was put right: {write.why}"
            self.learn(events=(*self.report.events, Event("Warning", "DriftCorrected", message)))

    async def begin_observation(
        self, candidate: Candidate, before: Collection[Sighting], carried: str | None, *, writing: bool
    ) -> None:
        """Starts the observation of a revision, unless an earlier pass wrote it and was cut short after that."""
        known = self.release.status.observation
        if known is not None and known.revision == candidate.revision and not writing:
            return
        begun = observation.begin(
            known,
            revision=candidate.revision,
            load=candidate.load,
            carried=carried,
            stable=self.release.status.stable_revision,
            before=before,
            failed_before=await self.probes_failing_before(before),
            now=self.world.now(),
        )
        await self.note(begun)
        if writing:
            await self.raise_loggers([sighting.pod for sighting in before if sighting.unreachable is None])

    async def take_off(self) -> None:
        """A first release that failed: the gateways are as they were before it."""
        self.step = ConditionType.APPLIED
        observed = await self.observe()
        if observed is not None and plan.is_ours(self.release, observed):
            await self.world.gates.write(self.release.metadata.uid, lambda: self.world.cluster.delete(observed))
            log.info("taken off", name=observed["metadata"]["name"])
        await self.put_loggers_back()
        self.find(
            ConditionType.APPLIED, "False", "Removed", "nothing ran before, so the plugin was taken off the gateways"
        )

    async def apply_all(self, writes: Sequence[plan.Write]) -> JSON | None:
        """The writes in order; what the last one made."""
        applied = None
        for write in writes:
            applied = await self.apply(write)
        return applied

    async def apply(self, write: plan.Write) -> JSON:
        """One write, told in the log."""
        cluster, uid = self.world.cluster, self.release.metadata.uid
        applied = await self.world.gates.write(uid, lambda: cluster.apply(write.manifest, uid=write.uid))
        log.info("applied", kind=write.manifest["kind"], name=write.manifest["metadata"]["name"], why=write.why)
        return applied

    def wrote(self, target: JSON) -> None:
        """What is now in the API server."""
        own = target["metadata"]
        known = api.TargetStatus(
            api_version=target["apiVersion"],
            kind=target["kind"],
            namespace=own["namespace"],
            name=own["name"],
            uid=own.get("uid"),
        )
        self.learn(target=known)

    async def keep_secret_in_step(self, candidate: Candidate) -> None:
        """A rotated pull secret reaches the gateways, also while the registry is down; one no longer named goes."""
        self.step = ConditionType.APPLIED
        await self.apply_all(await pullsecrets.writes(self.world.cluster, candidate.release))
        copy = await pullsecrets.superfluous(self.world.cluster, candidate.release)
        if copy is not None:
            await self.world.cluster.delete(copy)

    # ------------------------------------------------------------------------------- the look at the gateways

    async def look(self, candidate: Candidate) -> None:
        """Every selected pod, and what may be said about them together; then what that means for the rollout."""
        self.step = ConditionType.LOADED
        seen, judged = await self.judge(candidate)
        judged = await self.probe(seen, judged)
        self.step = ConditionType.LOADED
        self.learn(verdict=judged)
        self.keep_verified(judged)
        await self.decide(candidate, judged)
        await self.nudge(candidate, judged)
        if not self.is_watched_closely(judged):
            await self.put_loggers_back()

    async def judge(self, candidate: Candidate) -> tuple[tuple[Sighting, ...], Verdict]:
        """What the gateways show, and what that says."""
        known = self.known_observation()
        selected = await self.gateway_pods(candidate)
        seen = await self.sightings(candidate, selected, self.log_since(known, selected))
        return seen, verdict.judge(
            candidate.wanted(),
            seen,
            write_at=moment.read(known.since),
            baselines=[observation.remembered(one) for one in known.baselines],
            verified=observation.incarnations(known.verified),
            load_timeout=self.load_timeout(),
            settled=self.is_settled(candidate),
        )

    def is_settled(self, candidate: Candidate) -> bool:
        """Whether the candidate was seen running everywhere before: a pod that comes up then is no news."""
        if rollout.is_fallback(self.known_rollout()):
            return self.known_rollout().put_back_at is not None
        return candidate.revision == self.release.status.stable_revision

    def log_since(self, known: api.Observation, selected: Collection[PodRef]) -> datetime:
        """From where to read the logs: from the write on, until every pod was seen; then only what is new."""
        since = moment.read(known.since)
        if {pod.uid for pod in selected} <= {one.uid for one in known.verified}:
            return max(since, self.world.now() - timedelta(seconds=2 * self.world.settings.resync))
        return since

    async def probe(self, seen: Collection[Sighting], judged: Verdict) -> Verdict:
        """The condition Probed: asked once all gateways have the plugin, and for as long as they do."""
        asked = self.release.spec.checks.probes
        if not asked or not probation.is_due(judged):
            return judged
        self.step = ConditionType.PROBED
        known = self.known_observation()
        reached = [sighting for sighting in seen if sighting.unreachable is None and sighting.pod.ready]
        answers = await self.ask_probes(reached)
        weighed = probation.weigh(
            judged,
            answers,
            seen=reached,
            failed_before=known.failed_before,
            failing_since=known.probes_failing_since,
            settled=self.release.status.stable_revision == known.revision,
            now=self.world.now(),
        )
        self.learn(
            findings=(*self.report.findings, weighed.finding),
            observation=known.model_copy(update={"probes_failing_since": weighed.failing_since}),
        )
        return weighed.verdict

    async def ask_probes(self, reached: Sequence[Sighting]) -> tuple[PodProbe, ...]:
        """What these gateways answer to the release's probes."""
        return await probes.ask(
            self.world.cluster,
            reached,
            self.release.spec.checks.probes,
            deadline_seconds=self.world.settings.probe_deadline,
            settings=self.world.reach,
        )

    async def probes_failing_before(self, before: Collection[Sighting]) -> list[str]:
        """Names of the probes that fail in every pod before the write: when they pass, it is by what was written."""
        reached = [sighting for sighting in before if sighting.unreachable is None and sighting.pod.ready]
        if not self.release.spec.checks.probes or not reached:
            return []
        return probation.failing_everywhere(await self.ask_probes(reached))

    def keep_verified(self, judged: Verdict) -> None:
        """Which pods need no new proof at the next look."""
        known = self.known_observation()
        self.learn(observation=known.model_copy(update={"verified": observation.verified(judged.verified)}))

    async def decide(self, candidate: Candidate, judged: Verdict) -> None:
        """What the look means for the rollout; what is no longer needed to roll back to goes before Ready is told."""
        now, known = self.world.now(), self.known_rollout()
        advanced = rollout.advance(self.release, known, candidate.revision, judged, now, self.progress_deadline())
        completed = advanced.completed_at is not None and not rollout.is_fallback(advanced)
        if completed and candidate.revision != self.release.status.stable_revision:
            await revisions.prune(self.world.cluster, self.release, {candidate.revision})
        self.learn(rollout=advanced)

    async def nudge(self, candidate: Candidate, judged: Verdict) -> None:
        """Makes istiod send the plugin again, because an agent that could not fetch it never tries again by itself.

        Only once the image can be fetched again, and less and less often. Not while a rollback is about to come.
        """
        known, decided = self.known_observation(), self.known_rollout()
        if judged.state is verdict.State.LOADED and known.nudge is not None and known.nudge.tries:
            self.learn(observation=known.model_copy(update={"nudge": nudges.rested(known.nudge)}))
        about_to_change = decided.failure is not None and decided.failure.revision == candidate.revision
        if (about_to_change and decided.puts_back is not None) or not nudges.is_due(
            judged, known.nudge, self.world.now()
        ):
            return
        if not await self.can_be_fetched(candidate):
            return
        await self.note(known.model_copy(update={"nudge": nudges.next_one(known.nudge, self.world.now())}))
        stuck = [row.pod for row in judged.pods if row.reason in nudges.HEALED_BY_A_PUSH]
        await self.raise_loggers(stuck)
        observed = await self.observe()
        await self.apply_all(plan.draft(self.release, [(self.rendered(candidate), observed)]).writes)

    def rest_nudges(self) -> None:
        """Whoever asks for another try does not wait for the next turn of a back-off."""
        known = self.release.status.observation
        if known is not None and known.nudge is not None:
            self.learn(observation=known.model_copy(update={"nudge": nudges.rested(known.nudge)}))

    async def can_be_fetched(self, candidate: Candidate) -> bool:
        """Whether the registry gives out the candidate's image now."""
        reference = artifacts.reference_of(candidate.artifact.image, None)
        try:
            access = replace(await self.access(candidate.release), deadline_seconds=NUDGE_DEADLINE)
            await self.world.shelf.ask(reference, access)
        except ReleaseError as error:
            log.info("gateways are not nudged", reason=error.reason, message=error.message)
            return False
        return True

    def is_watched_closely(self, judged: Verdict) -> bool:
        """Whether the gateways' own word for "loaded" is still awaited."""
        nudge = self.known_observation().nudge
        nudged = nudge is not None and nudges.is_fresh(nudge, self.world.now())
        return judged.state is verdict.State.PENDING or (nudged and judged.state is not verdict.State.LOADED)

    async def sightings(
        self, candidate: Candidate, selected: list[PodRef], log_since: datetime
    ) -> tuple[Sighting, ...]:
        """What each of these pods shows of the wanted plugin now, with its log since a time."""
        return await gateways.look(
            self.world.cluster,
            selected,
            candidate.wanted(),
            since=log_since,
            deadline_seconds=self.world.settings.look_deadline,
            settings=self.world.reach,
        )

    async def gateway_pods(self, candidate: Candidate) -> list[PodRef]:
        """The selected gateway pods."""
        gateway = candidate.release.spec.gateway
        namespace = istio.pod_namespace(gateway, self.world.settings.istio_root_namespace)
        found = await self.world.cluster.list(clusters.PODS, namespace, gateway.selector.match_labels)
        return pods.select(found, self.world.settings.gateway_container)

    # ------------------------------------------------------------------------------- loggers

    async def raise_loggers(self, selected: list[PodRef]) -> None:
        """Envoy's filter logger at debug, where the gateway's own word for "loaded" is found; noted before."""
        known = self.known_observation()
        raised = await loggers.levels(self.world.cluster, self.release, selected, self.world.reach)
        held = {one.uid for one in known.raised_loggers}
        new = [one for one in raised if one.uid not in held]
        if new:
            merged = [*known.raised_loggers, *new][: api.MAX_OBSERVED_PODS]
            await self.note(known.model_copy(update={"raised_loggers": merged}))
        await loggers.raise_all(self.world.cluster, raised, self.world.reach)

    async def put_loggers_back(self) -> None:
        """Every logger that this release raised and no other needs; forgotten only when it is done."""
        known = self.report.observation or self.release.status.observation
        if known is None or not known.raised_loggers:
            return
        kept = await loggers.put_back(self.world.cluster, self.release, known.raised_loggers, self.world.reach)
        self.learn(observation=known.model_copy(update={"raised_loggers": kept}))

    # ------------------------------------------------------------------------------- what is known

    def learn(self, **news: Any) -> None:
        """Adds to the report."""
        self.report = replace(self.report, **news)

    def find(self, kind: ConditionType, state: status.TriState, reason: str, message: str) -> None:
        """Adds a finding to the report."""
        self.learn(findings=(*self.report.findings, Finding(kind, state, reason, message)))

    def aim(self, intent: Intent, candidate: Candidate) -> None:
        """What this pass is about. After a failure the wanted revision stays the one that failed."""
        self.learn(running=candidate.revision)
        if intent.goal is not Goal.PUT_BACK:
            self.learn(target_revision=candidate.revision)
        if intent.goal is Goal.SPEC:
            self.learn(artifact=candidate.artifact)

    async def note_deployed(self, intent: Intent, candidate: Candidate) -> None:
        """For the history, where a pass was cut short before it could tell; nothing is read when it knows already."""
        if intent.goal is Goal.PUT_BACK or history.is_noted(self.release.status.history, candidate.revision):
            return
        recorded = await revisions.keep(self.world.cluster, candidate.release, candidate.artifact)
        self.learn(deployed=deployed(recorded))

    def note_adoption(self, observed: JSON | None) -> None:
        """An object that is taken over from somebody is remembered as such."""
        if observed is not None and not plan.is_ours(self.release, observed):
            self.learn(rollout=self.known_rollout().model_copy(update={"adopted": True}))

    async def note(self, begun: api.Observation) -> None:
        """Writes the observation to the status at once: what follows must not happen without it."""
        self.learn(observation=begun)
        noted = status.noted(self.release.status, self.report)
        await self.world.cluster.apply_status(self.release, noted)
        self.release = self.release.model_copy(update={"status": noted})

    def rendered(self, candidate: Candidate) -> JSON:
        """The WasmPlugin as it should be."""
        known = self.report.observation or self.release.status.observation
        nudge = known.nudge if known is not None and known.revision == candidate.revision else None
        return istio.wasm_plugin(candidate.release, candidate.artifact, nudge.count if nudge else 0)

    def target_name(self) -> str:
        """The object that is written, for people."""
        return f"{istio.KIND} {self.release.spec.gateway.namespace}/{istio.object_name(self.release)}"

    def intent(self) -> Intent:
        """What the gateways are to run."""
        return rollout.intent(self.known_rollout())

    def known_rollout(self) -> api.RolloutStatus:
        """The rollout of this pass."""
        assert self.report.rollout is not None  # noqa: S101  learned at the beginning of the pass
        return self.report.rollout

    def known_observation(self) -> api.Observation:
        """The observation of this pass, or the one that the status has."""
        known = self.report.observation or self.release.status.observation
        assert known is not None  # noqa: S101  a release is settled, or written, only with one
        return known


def deployed(recorded: revision.Recorded) -> history.Deployed:
    """What the history tells of a kept revision."""
    return history.Deployed(
        recorded.revision, recorded.number, ref=recorded.artifact.ref, digest=recorded.artifact.digest
    )


def described(ref: str, found: Artifact) -> api.ArtifactStatus:
    """What status tells of an artifact."""
    module = found.module
    return api.ArtifactStatus(
        ref=ref,
        image=str(found.pinned),
        digest=str(found.digest),
        wasm_sha256=found.wasm_sha256,
        size=found.size,
        layout=str(found.layout),
        abi=module.abi.replace("_", ".") or None,
        toolchain=f"{module.toolchain} {module.toolchain_version}".strip() or None,
    )
