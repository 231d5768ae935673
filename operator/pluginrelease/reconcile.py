"""One pass over one release: look at the world, decide in `core`, act, and end in `status.settle`.

A pass starts from what is in the API server and nothing else. What must survive the operator's death is noted in the
status before the act that needs it, so a pass that was cut short anywhere is simply run again.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from pluginrelease import artifacts, loggers
from pluginrelease.artifacts import Found
from pluginrelease.core import api, challenge, compat, duration, envoy, istio, plan, pods, status, verdict
from pluginrelease.core import revision as revisions
from pluginrelease.core.api import ConditionType
from pluginrelease.core.artifact import Artifact
from pluginrelease.core.envoy import Baseline, Incarnation, PodRef, Sighting, Wanted
from pluginrelease.core.errors import Refused, ReleaseError, Transient, Waiting
from pluginrelease.core.status import Failure, Finding, Report
from pluginrelease.core.verdict import Verdict
from pluginrelease.edges import cluster as clusters
from pluginrelease.edges import gateways
from pluginrelease.edges.cluster import Cluster
from pluginrelease.edges.registry import Access
from pluginrelease.settings import Settings

JSON = dict[str, Any]

log = structlog.get_logger(__name__)

# the fields that a baseline has in the program and in the API alike
COUNTERS = ("config_reload", "config_fail", "update_rejected", "vm_created", "vm_reloads", "named", "digest_hex")


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

    async def write(self, uid: str, act: Callable[[], Awaitable[JSON]]) -> JSON:
        """Runs one write to its end, also when the caller is cancelled; raises `Waiting` after `close`."""
        return await asyncio.shield(self._locked(uid, act))

    async def _locked(self, uid: str, act: Callable[[], Awaitable[JSON]]) -> JSON:
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
    if failure is not None and failure.step is not ConditionType.LOADED:
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


@dataclass
class Pass:
    """The steps, in order; ``step`` is the one under way, ``report`` what has been learned."""

    world: World
    release: api.Release
    step: ConditionType = ConditionType.APPLIED
    report: Report = field(default_factory=Report)
    load_timeout: timedelta = timedelta()

    async def run(self) -> None:
        """Either everything stands as wanted and only the look remains, or the whole way is gone."""
        self.check_alive()
        if self.release.spec.suspend:
            await self.put_loggers_back()
            self.learn(suspended=True)
            return
        await self.check_permission()
        observed = await self.observe()
        if not self.is_settled(observed):
            await self.roll_out(observed)
        await self.keep_secret_in_step()
        await self.look()

    # ------------------------------------------------------------------------------- what was there

    def check_alive(self) -> None:
        """Nothing is written for a release that is going, as its clean-up may be under way, or that says nonsense."""
        if self.release.metadata.deletion_timestamp:
            raise Waiting("Deleting", "the PluginRelease is being deleted")
        self.load_timeout = duration.parse(self.release.spec.checks.load.timeout)

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

    def is_settled(self, observed: JSON | None) -> bool:
        """Whether the object in the cluster is what the spec wants, so that nothing needs to be fetched or checked."""
        pinned = self.pinned()
        if pinned is None or observed is None or self.release.status.observation is None:
            return False
        if not status.stands(self.release.status):
            return False
        revision = revisions.identity(self.release.spec, pinned.digest)
        if self.release.status.observation.revision != revision:
            return False
        wanted = istio.wasm_plugin(self.release, pinned)
        if not plan.draft(self.release, [(wanted, observed)]).converged:
            return False
        self.learn(target_revision=revision, artifact=pinned)
        return True

    def pinned(self) -> api.ArtifactStatus | None:
        """The digest that this reference was settled on: a tag is not asked again while the release holds it."""
        known, image = self.release.status.artifact, self.release.spec.artifact
        failed = {it.type for it in self.release.status.conditions if it.status == "False"}
        stalled = any(it.type == ConditionType.STALLED for it in self.release.status.conditions)
        # only a refusal lets the pin go: a registry that did not answer says nothing about the artifact
        passed = not (stalled and failed & {ConditionType.ARTIFACT_READY, ConditionType.COMPATIBLE})
        matches = known is not None and known.ref == image.image.ref
        right = known is not None and image.wasm_sha256 in (None, known.wasm_sha256)
        return known if passed and matches and right else None

    # ------------------------------------------------------------------------------- the whole way

    async def roll_out(self, observed: JSON | None) -> None:
        """Artifact → compatibility → write; nothing is written before all that can be known is known."""
        if observed is not None:
            plan.claim(self.release, observed)
        found = await self.obtain_artifact()
        before = await self.look_before()
        self.check_compatibility(found, before)
        await self.write(observed, before)

    async def obtain_artifact(self) -> Found:
        """Resolve, fetch, check; the condition ArtifactReady."""
        self.step = ConditionType.ARTIFACT_READY
        spec, pinned = self.release.spec.artifact, self.pinned()
        reference = artifacts.reference_of(spec.image.ref, pinned.digest if pinned else None)
        found = await self.world.shelf.obtain(reference, await self.access())
        artifacts.check_bytes(found.artifact, spec.wasm_sha256)
        known = described(spec.image.ref, found.artifact)
        self.learn(artifact=known, target_revision=revisions.identity(self.release.spec, known.digest))
        self.find(
            ConditionType.ARTIFACT_READY,
            "True",
            "ArtifactReady",
            f"{spec.image.ref} is {known.digest}, {known.layout}, {known.size} bytes of Wasm, built with "
            f"{known.toolchain or 'an unknown toolchain'}",
        )
        return found

    async def access(self) -> Access:
        """How the operator pulls: with the secret that the gateways will use."""
        settings, image = self.world.settings, self.release.spec.artifact.image
        return Access(
            insecure=image.insecure,
            dockerconfigjson=await self.pull_secret(),
            deadline_seconds=settings.pull_deadline,
            max_bytes=settings.pull_max_bytes,
            allow_private_realms=settings.allow_private_realms,
        )

    async def pull_secret(self) -> bytes | None:
        """Content of the release's pull secret; raises `Waiting` when it is missing, `Refused` when it is none."""
        secret = await self.pull_secret_object()
        if secret is None:
            return None
        try:
            return base64.b64decode(secret["data"][".dockerconfigjson"], validate=True)
        except (KeyError, TypeError, binascii.Error) as error:
            raise wrong_secret(self.release, "has no readable key .dockerconfigjson") from error

    async def pull_secret_object(self) -> JSON | None:
        """The Secret that the release names, of the right type."""
        named = self.release.spec.artifact.image.pull_secret_ref
        if named is None:
            return None
        namespace = self.release.metadata.namespace
        secret = await self.world.cluster.get(clusters.SECRETS, namespace, named.name)
        if secret is None:
            raise Waiting(
                "PullSecretNotFound",
                f"artifact.image.pullSecretRef names Secret {namespace}/{named.name}, which does not exist",
                f"Create it: kubectl -n {namespace} create secret docker-registry {named.name} …",
                retry_after=15.0,
            )
        if secret.get("type") != "kubernetes.io/dockerconfigjson":
            raise wrong_secret(self.release, f"is of type {secret.get('type')}, not kubernetes.io/dockerconfigjson")
        return secret

    async def look_before(self) -> tuple[Sighting, ...]:
        """Every gateway pod before the write: its Envoy's version and its counters."""
        self.step = ConditionType.COMPATIBLE
        return await self.sightings(await self.gateway_pods(), self.world.now())

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

    async def write(self, observed: JSON | None, before: Collection[Sighting]) -> None:
        """The condition Applied. Noted first: since when to read logs, the counters, and the loggers to put back."""
        self.step = ConditionType.APPLIED
        await self.copy_secret()
        manifest = istio.wasm_plugin(self.release, self.known_artifact())
        drafted = plan.draft(self.release, [(manifest, observed)])
        await self.begin_observation(before, plan.carried(observed), writing=drafted.reaches_gateways)
        target = observed
        for write in drafted.writes:
            target = await self.apply(write)
        self.wrote(target or manifest)

    async def begin_observation(self, before: Collection[Sighting], carried: str | None, *, writing: bool) -> None:
        """Starts the observation of a revision, unless an earlier pass wrote it and was cut short after that.

        ``carried`` is the revision that the object has before the write.

        What a gateway loads may be the same as before: another hand had changed or deleted the object, or only phase,
        priority or selector are new. Then Envoy gets nothing new and shows no new sign, so the pods that were seen
        running it are kept (one that has lost it meanwhile shows that by what it has), and a refusal that was told
        since the earlier write still counts.
        """
        known, revision = self.release.status.observation, self.known_revision()
        again = known is not None and known.revision == revision
        if again and not writing:
            return
        load = revisions.load(self.release.spec, self.known_artifact().digest)
        same = known if known is not None and known.load == load else None
        unproved = same is not None and same.revision == carried != self.release.status.stable_revision
        awaited = same if unproved else None
        baselines = [noted(one) for one in map(envoy.baseline, before) if one is not None]
        await self.note(
            api.Observation(
                revision=revision,
                load=load,
                since=awaited.since if awaited else precise(self.world.now()),
                baselines=awaited.baselines if awaited else baselines[: api.MAX_OBSERVED_PODS],
                raised_loggers=known.raised_loggers if known else [],
                verified=same.verified if same else [],
            )
        )
        if writing:
            await self.raise_loggers([sighting.pod for sighting in before if sighting.unreachable is None])

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
        self.find(
            ConditionType.APPLIED,
            "True",
            "Applied",
            f"{known.kind} {known.namespace}/{known.name} carries revision {self.known_revision()}",
        )

    # ------------------------------------------------------------------------------- the pull secret's copy

    async def keep_secret_in_step(self) -> None:
        """A rotated pull secret reaches the gateways, also while the registry is down; one no longer named goes."""
        self.step = ConditionType.APPLIED
        await self.copy_secret()
        copy = await self.copied_secret()
        if self.release.spec.artifact.image.pull_secret_ref is None and copy and plan.is_ours(self.release, copy):
            await self.world.cluster.delete(copy)

    async def copied_secret(self) -> JSON | None:
        """The copy in the gateway's namespace; in the release's own there is none."""
        if istio.is_local(self.release):
            return None
        name = istio.copied_secret_name(self.release)
        return await self.world.cluster.get(clusters.SECRETS, self.release.spec.gateway.namespace, name)

    async def copy_secret(self) -> None:
        """The copy in the gateway's namespace: made, or renewed."""
        source = None if istio.is_local(self.release) else await self.pull_secret_object()
        if source is None:
            return
        copy = await self.copied_secret()
        manifest = istio.pull_secret(self.release, source["data"][".dockerconfigjson"])
        for write in plan.draft(self.release, [(manifest, copy)]).writes:
            await self.apply(write)

    # ------------------------------------------------------------------------------- the look at the gateways

    async def look(self) -> None:
        """Every selected pod, and what may be said about them together; the condition Loaded."""
        self.step = ConditionType.LOADED
        observation = self.known_observation()
        selected = await self.gateway_pods()
        since = moment(observation.since)
        seen = await self.sightings(selected, self.log_since(observation, selected))
        late = self.world.now() > since + self.load_timeout
        judged = verdict.judge(
            self.wanted(),
            seen,
            write_at=since,
            baselines=[remembered(one) for one in observation.baselines],
            verified=[Incarnation(one.uid, moment(one.started_at)) for one in observation.verified],
            deadline_passed=late,
        )
        self.keep(observation, judged)
        if judged.state is not verdict.State.PENDING or late:
            await self.put_loggers_back()

    def log_since(self, observation: api.Observation, selected: Collection[PodRef]) -> datetime:
        """From where to read the logs: from the write on, until every pod was seen; then only what is new."""
        since = moment(observation.since)
        if {pod.uid for pod in selected} <= {one.uid for one in observation.verified}:
            return max(since, self.world.now() - timedelta(seconds=2 * self.world.settings.resync))
        return since

    def keep(self, observation: api.Observation, judged: Verdict) -> None:
        """The verdict, and which pods need no new proof at the next look."""
        verified = [
            api.VerifiedPod(uid=one.uid, started_at=precise(one.started_at))
            for one in sorted(judged.verified, key=lambda one: (one.uid, one.started_at))
        ]
        self.learn(
            verdict=judged,
            observation=observation.model_copy(update={"verified": verified[: api.MAX_OBSERVED_PODS]}),
        )

    async def sightings(self, selected: list[PodRef], log_since: datetime) -> tuple[Sighting, ...]:
        """What each of these pods shows of the wanted plugin now, with its log since a time."""
        return await gateways.look(
            self.world.cluster,
            selected,
            self.wanted(),
            since=log_since,
            deadline_seconds=self.world.settings.look_deadline,
            settings=self.world.reach,
        )

    async def gateway_pods(self) -> list[PodRef]:
        """The selected gateway pods."""
        gateway = self.release.spec.gateway
        namespace = istio.pod_namespace(gateway, self.world.settings.istio_root_namespace)
        found = await self.world.cluster.list(clusters.PODS, namespace, gateway.selector.match_labels)
        return pods.select(found, self.world.settings.gateway_container)

    def wanted(self) -> Wanted:
        """What every gateway pod should run."""
        spec = self.release.spec
        return Wanted(
            namespace=spec.gateway.namespace,
            name=istio.object_name(self.release),
            digest_hex=self.known_artifact().digest.removeprefix("sha256:"),
            config=spec.plugin.config,
            fail_strategy=str(spec.plugin.fail_strategy),
        )

    # ------------------------------------------------------------------------------- loggers

    async def raise_loggers(self, selected: list[PodRef]) -> None:
        """Envoy's filter logger at debug, where the gateway's own word for "loaded" is found; noted before."""
        observation = self.known_observation()
        raised = await loggers.levels(self.world.cluster, self.release, selected, self.world.reach)
        held = {one.uid for one in observation.raised_loggers}
        new = [one for one in raised if one.uid not in held]
        if new:
            merged = [*observation.raised_loggers, *new][: api.MAX_OBSERVED_PODS]
            await self.note(observation.model_copy(update={"raised_loggers": merged}))
        await loggers.raise_all(self.world.cluster, raised, self.world.reach)

    async def put_loggers_back(self) -> None:
        """Every logger that this release raised and no other needs; forgotten only when it is done."""
        observation = self.report.observation or self.release.status.observation
        if observation is None or not observation.raised_loggers:
            return
        kept = await loggers.put_back(self.world.cluster, self.release, observation.raised_loggers, self.world.reach)
        self.learn(observation=observation.model_copy(update={"raised_loggers": kept}))

    # ------------------------------------------------------------------------------- what is known

    def learn(self, **news: Any) -> None:
        """Adds to the report."""
        self.report = replace(self.report, **news)

    def find(self, kind: ConditionType, state: status.TriState, reason: str, message: str) -> None:
        """Adds a finding to the report."""
        self.learn(findings=(*self.report.findings, Finding(kind, state, reason, message)))

    async def note(self, observation: api.Observation) -> None:
        """Writes the observation to the status at once: what follows must not happen without it."""
        noted_status = self.release.status.model_copy(update={"observation": observation})
        await self.world.cluster.apply_status(self.release, noted_status)
        self.release = self.release.model_copy(update={"status": noted_status})
        self.learn(observation=observation)

    def known_artifact(self) -> api.ArtifactStatus:
        """The artifact of this pass."""
        assert self.report.artifact is not None  # noqa: S101  every way to a caller has learned it
        return self.report.artifact

    def known_revision(self) -> str:
        """The revision of this pass."""
        return revisions.identity(self.release.spec, self.known_artifact().digest)

    def known_observation(self) -> api.Observation:
        """The observation of this pass, or the one that the status has."""
        observation = self.report.observation or self.release.status.observation
        assert observation is not None  # noqa: S101  a release is settled, or written, only with one
        return observation


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


def wrong_secret(release: api.Release, what: str) -> Refused:
    """A pull secret that gateways could not use."""
    named = release.spec.artifact.image.pull_secret_ref
    name = named.name if named else ""
    namespace = release.metadata.namespace
    return Refused(
        "InvalidPullSecret",
        f"Secret {namespace}/{name} (artifact.image.pullSecretRef) {what}",
        f"Make it anew: kubectl -n {namespace} create secret docker-registry {name} --docker-server=… "
        "--docker-username=… --docker-password=…",
        recheck=plan.RECHECK,
    )


def noted(baseline: Baseline) -> api.PodBaseline:
    """A baseline as status keeps it."""
    run = baseline.incarnation
    counters = {name: getattr(baseline, name) for name in COUNTERS}
    others = precise(baseline.others_updated) if baseline.others_updated else None
    return api.PodBaseline(uid=run.uid, started_at=precise(run.started_at), others_updated=others, **counters)


def remembered(kept: api.PodBaseline) -> Baseline:
    """A baseline as status gives it back."""
    counters = {name: getattr(kept, name) for name in COUNTERS}
    others = moment(kept.others_updated) if kept.others_updated else None
    return Baseline(Incarnation(kept.uid, moment(kept.started_at)), others_updated=others, **counters)


def precise(when: datetime) -> str:
    """RFC 3339 in UTC with microseconds: log lines are compared with it."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: str) -> datetime:
    """The time that `precise` or the API server wrote."""
    return datetime.fromisoformat(text)
