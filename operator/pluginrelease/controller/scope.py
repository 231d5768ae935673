"""One pass over one release: the step under way, what has been learned, and what every step needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.controller import artifacts, loggers
from pluginrelease.controller.context import Context
from pluginrelease.controller.secrets import ca_certificates, pull_secrets
from pluginrelease.core import duration, revision
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.findings import Finding, TriState
from pluginrelease.core.gateway import pods
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.core.gateway.outage import Neighbour
from pluginrelease.core.mesh import providers, target
from pluginrelease.core.mesh.providers import Provider
from pluginrelease.core.registry import tags
from pluginrelease.core.rollout import conflict, decisions, neighbours, plan
from pluginrelease.core.rollout.decisions import Goal, Intent
from pluginrelease.core.rollout.probe import PodProbe
from pluginrelease.core.status import conditions, settlement
from pluginrelease.core.status.report import Event, Report
from pluginrelease.edges.envoy import observing, probes
from pluginrelease.edges.envoy.dump_cache import READ_ALL, ReadOptions
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.resources import PODS, RELEASES
from pluginrelease.edges.oci.access import Access

log = structlog.get_logger(__name__)

# seconds more for a look at each pod: hundreds of them share the operator's processor and the API server's
PER_POD = 0.1

JSON = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """What the gateways are to run: the release with a revision's artifact, gateway and plugin, and the artifact."""

    release: api.Release
    artifact: api.ArtifactStatus

    @property
    def revision(self) -> str:
        return revision.compute_identity(self.release.spec, self.artifact.digest)

    @property
    def load(self) -> str:
        return revision.compute_load(self.release.spec, self.artifact.digest)

    @property
    def provider(self) -> Provider:
        return providers.of(self.release.spec.gateway)

    def pods(self, mesh: target.MeshSettings) -> target.Pods:
        """Where its gateway pods are."""
        return self.provider.pods(self.release.spec.gateway, mesh)

    def wanted(self) -> DesiredPlugin:
        """What every gateway pod should run."""
        spec = self.release.spec
        return DesiredPlugin(
            namespace=spec.gateway.namespace,
            name=target.name_object(self.release),
            digest_hex=self.artifact.digest.removeprefix("sha256:"),
            config=self.provider.configuration(spec.plugin),
            fail_strategy=str(spec.plugin.fail_strategy),
            env=target.read_environment(spec.plugin),
            image=self.artifact.image,
            replaces=self.provider.REPLACES,
        )


@dataclass(frozen=True)
class LastLook:
    """What the gateways showed when it was decided to go back: it stands in for a look before that write."""

    sightings: tuple[PodObservation, ...] = ()
    refuted_probes: frozenset[str] = frozenset()


@dataclass
class ReconcileScope:
    """``step`` is the one under way, ``report`` what has been learned, ``last_look`` what the gateways showed last."""

    world: Context
    release: api.Release
    step: ConditionType = ConditionType.APPLIED
    report: Report = field(default_factory=Report)
    start: decisions.RolloutStart | None = None
    last_look: LastLook | None = None

    @property
    def provider(self) -> Provider:
        return providers.of(self.release.spec.gateway)

    def load_timeout(self) -> timedelta:
        """How long a gateway has to show the plugin."""
        return duration.parse(self.release.spec.checks.load.timeout)

    def progress_deadline(self) -> timedelta:
        """How long a rollout may take."""
        return duration.parse(self.release.spec.rollout.progress_deadline)

    async def observe(self) -> JSON | None:
        """The object that carries the plugin, as it is now."""
        gateway, name = self.release.spec.gateway, target.name_object(self.release)
        return await self.world.cluster.get(resources.resource_for(self.provider.TARGET), gateway.namespace, name)

    async def access(self, effective: api.Release) -> Access:
        """How the operator pulls: with the secret that the gateways will use."""
        settings, image = self.world.settings, effective.spec.artifact.image
        return Access(
            insecure=image.insecure,
            dockerconfigjson=await pull_secrets.content(self.world.cluster, effective),
            deadline_seconds=settings.pull_deadline,
            max_bytes=settings.pull_max_bytes,
            allow_private_realms=settings.private_realms_of(image_manifests.parse_repository(image.ref)),
            authorities=await ca_certificates.content(self.world.cluster, effective),
            registry_ca=await ca_certificates.of_all_registries(settings.registry_ca_file),
        )

    async def named(self, image: api.ImageSource, access: Access) -> str:
        """The reference that the spec names now: with a range of versions, that of the highest tag within it."""
        if image.semver is None:
            return image.ref
        repository = image_manifests.parse_repository(image.ref)
        listed = await self.world.shelf.list_tags(repository, access)
        seen = tags.find_settled_tag(self.release.status.artifact, image)
        picked = tags.pick(repository.name, image.semver, listed.tags, whole=listed.whole, seen=seen)
        if not listed.whole and picked != seen:
            doubt = Event("Warning", "TagListIncomplete", tags.describe_doubt(repository.name, picked)[:1024])
            self.learn(events=(*self.report.events, doubt))
        return tags.with_tag(image, picked)

    async def ask_registry(self, candidate: Candidate, deadline_seconds: float) -> None:
        """Returns when the registry gives the candidate's image out now; raises what `registry.resolve` does."""
        reference = artifacts.reference_of(candidate.artifact.image, None)
        access = replace(await self.access(candidate.release), deadline_seconds=deadline_seconds)
        await self.world.shelf.ask(reference, access)

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

    async def ask_probes(self, reached: Sequence[PodObservation], *, written: bool = True) -> tuple[PodProbe, ...]:
        """What these gateways answer to the release's probes; ``written`` False: before the write."""
        return await probes.ask(
            self.world.cluster,
            reached,
            self.release.spec.checks.probes,
            deadline_seconds=self.world.settings.probe_deadline,
            settings=self.world.reach,
            written=written,
        )

    async def sightings(
        self,
        candidate: Candidate,
        selected: list[PodRef],
        since: datetime,
        habit: ReadOptions = READ_ALL,
    ) -> tuple[PodObservation, ...]:
        """What each of these pods shows of the wanted plugin now, with its log since a time."""
        return await observing.observe(
            self.world.cluster,
            selected,
            candidate.wanted(),
            since=since,
            deadline_seconds=self.world.settings.look_deadline + PER_POD * len(selected),
            settings=replace(self.world.reach, container=candidate.pods(self.world.mesh).container),
            options=habit,
        )

    async def statuses(
        self, candidate: Candidate, selected: list[PodRef], since: datetime, habit: ReadOptions
    ) -> tuple[PodObservation, ...]:
        """What these pods' status alone shows of a container that ended since a time."""
        reach = replace(self.world.reach, container=candidate.pods(self.world.mesh).container)
        return await observing.observe_status(self.world.cluster, selected, since=since, settings=reach, options=habit)

    async def neighbours(self, candidate: Candidate) -> list[Neighbour]:
        """The other releases that have written to some of the candidate's gateway pods."""
        listed = await self.world.cluster.list(RELEASES, None, {})
        others = neighbours.find_neighbours(self.release, listed)
        shared = [(one, conflict.find_shared_pods(candidate.release.spec, one.spec, self.world.mesh)) for one in others]
        found = []
        for other, where in shared:
            if where is not None:
                theirs = await self.world.cluster.list(PODS, where.namespace, where.labels)
                found.append(neighbours.make_neighbour(other, (pod["metadata"]["uid"] for pod in theirs)))
        return found

    async def gateway_pods(self, candidate: Candidate) -> list[PodRef]:
        """The selected gateway pods."""
        where = candidate.pods(self.world.mesh)
        return pods.select(await self.world.cluster.list(PODS, where.namespace, where.labels), where.container)

    async def raise_loggers(self, selected: list[PodRef]) -> None:
        """Envoy's filter logger at debug, where the gateway's own word for "loaded" is found; noted before."""
        known = self.known_observation()
        raised = await loggers.find_levels_to_restore(self.world.cluster, self.release, selected, self.world.reach)
        held = {one.uid for one in known.raised_loggers}
        new = [one for one in raised if one.uid not in held]
        uid = self.release.metadata.uid
        self.world.left.difference_update({(uid, one.uid) for one in raised})
        if new:
            merged = [*known.raised_loggers, *new][: api.MAX_OBSERVED_PODS]
            await self.note(known.model_copy(update={"raised_loggers": merged}))
        noted = {one.uid for one in self.known_observation().raised_loggers}  # more than there is room for are not
        raised = [one for one in raised if one.uid in noted]
        gate = loggers.gate(uid)
        await self.world.gates.write(gate, lambda: loggers.raise_all(self.world.cluster, raised, self.world.reach))

    async def put_loggers_back(self) -> None:
        """Every logger that this release raised and no other needs; forgotten only when it is done."""
        known = self.report.observation or self.release.status.observation
        if known is None or not known.raised_loggers:
            return
        uid, raised = self.release.metadata.uid, known.raised_loggers
        kept = await loggers.restore_all(self.world.cluster, uid, raised, self.world.reach, self.world.left)
        self.learn(observation=known.model_copy(update={"raised_loggers": kept}))

    def learn(self, **news: Any) -> None:
        """Adds to the report."""
        self.report = replace(self.report, **news)

    def find(self, kind: ConditionType, state: TriState, reason: str, message: str) -> None:
        """Adds a finding to the report."""
        self.learn(findings=(*self.report.findings, Finding(kind, state, reason, message)))

    def aim(self, intent: Intent, candidate: Candidate) -> None:
        """What this pass is about. After a failure the wanted revision stays the one that failed."""
        self.learn(running=candidate.revision)
        if intent.goal is not Goal.PUT_BACK:
            self.learn(target_revision=candidate.revision)
        if intent.goal is Goal.SPEC:
            self.learn(artifact=candidate.artifact)

    async def note(self, begun: api.Observation) -> None:
        """Writes the observation to the status at once: what follows must not happen without it.

        What was found on the way here goes with it: a pass after a kill finds the write done, and does not look again.
        """
        self.learn(observation=begun)
        found = conditions.merge_so_far(self.release, self.report, self.world.now())
        noted = settlement.checkpoint(self.release.status, self.report).model_copy(update={"conditions": found})
        await self.world.cluster.apply_status(self.release, noted)
        self.release = self.release.model_copy(update={"status": noted})

    def rendered(self, candidate: Candidate) -> JSON:
        """The same as it should be."""
        known = self.report.observation or self.release.status.observation
        nudge = known.nudge if known is not None and known.revision == candidate.revision else None
        return self.provider.wasm_plugin(candidate.release, candidate.artifact, nudge.count if nudge else 0)

    def target_name(self) -> str:
        """The object that is written, for people."""
        namespace = self.release.spec.gateway.namespace
        return f"{self.provider.TARGET.name} {namespace}/{target.name_object(self.release)}"

    def intent(self) -> Intent:
        """What the gateways are to run."""
        return decisions.decide_intent(self.known_rollout())

    def known_rollout(self) -> api.RolloutStatus:
        """The rollout of this pass."""
        assert self.report.rollout is not None  # noqa: S101  learned at the beginning of the pass
        return self.report.rollout

    def known_observation(self) -> api.Observation:
        """The observation of this pass, or the one that the status has."""
        known = self.report.observation or self.release.status.observation
        assert known is not None  # noqa: S101  a release is settled, or written, only with one
        return known
