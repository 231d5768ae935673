"""One pass over one release, and each entry's part of it: what has been learned, and what every step needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import artifacts, loggers
from pluginrelease.controller.context import Context
from pluginrelease.controller.secrets import ca_certificates, pull_secrets
from pluginrelease.core import duration, revision
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.findings import Finding, TriState
from pluginrelease.core.gateway import pods, raised_loggers
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.core.gateway.outage import Neighbour
from pluginrelease.core.mesh import providers, target
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.mesh.providers import Provider
from pluginrelease.core.registry import tags
from pluginrelease.core.rollout import conflict, decisions, detour, neighbours, plan
from pluginrelease.core.rollout.decisions import Goal, Intent
from pluginrelease.core.rollout.probe import PodProbe
from pluginrelease.core.status import conditions, settlement, summaries
from pluginrelease.core.status.report import EntryReport, Event, Failure, Report
from pluginrelease.edges.envoy import observing, probes
from pluginrelease.edges.envoy.dump_cache import READ_ALL, ReadOptions
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.oci.access import Access

log = structlog.get_logger(__name__)

# seconds more for a look at each pod: hundreds of them share the operator's processor and the API server's
PER_POD = 0.1

JSON = dict[str, Any]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Candidate:
    """What an entry's gateways are to run: the release with a revision's artifact and plugin, placed; the artifact."""

    placement: Placement
    artifact: api.ArtifactStatus

    @property
    def release(self) -> api.Release:
        return self.placement.release

    @property
    def gateway(self) -> api.Gateway:
        return self.placement.gateway

    @property
    def revision(self) -> str:
        return revision.compute_identity(self.release.spec, self.artifact.digest)

    @property
    def load(self) -> str:
        return revision.compute_load(self.release.spec, self.artifact.digest)

    @property
    def provider(self) -> Provider:
        return providers.of(self.release.spec)

    def pods(self, mesh: target.MeshSettings) -> target.Pods:
        """Return where its gateway pods are."""
        return self.provider.pods(self.gateway, mesh)

    def wanted(self) -> DesiredPlugin:
        """Return what every gateway pod should run."""
        plugin = self.release.spec.plugin
        return DesiredPlugin(
            namespace=self.gateway.namespace,
            name=target.name_object(self.placement),
            digest_hex=self.artifact.digest.removeprefix("sha256:"),
            config=self.provider.configuration(plugin),
            fail_strategy=str(plugin.fail_strategy),
            env=target.read_environment(plugin),
            image=self.artifact.image,
            replaces=self.provider.REPLACES,
        )


@dataclass(frozen=True)
class LastLook:
    """What the gateways showed when it was decided to go back: it stands in for a look before that write."""

    sightings: tuple[PodObservation, ...] = ()
    refuted_probes: frozenset[str] = frozenset()


@dataclass(eq=False)
class ReconcileScope:
    """A pass over a release: ``step`` is the one under way, ``report`` what has been learned beside the entries."""

    world: Context
    release: api.Release
    step: ConditionType = ConditionType.APPLIED
    report: Report = field(default_factory=Report)
    start: decisions.RolloutStart | None = None
    last_looks: Mapping[str, LastLook] = field(default_factory=dict)
    entries: dict[str, EntryScope] = field(default_factory=dict)
    _noting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def provider(self) -> Provider:
        return providers.of(self.release.spec)

    def entry(self, gateway: api.Gateway) -> EntryScope:
        """Return the scope of one entry, the same one throughout the pass."""
        if gateway.name not in self.entries:
            known = EntryScope(self, gateway, last_look=self.last_looks.get(gateway.name))
            self.entries[gateway.name] = known
        return self.entries[gateway.name]

    def all_entries(self) -> list[EntryScope]:
        """Return the scopes of the spec's entries, in its order."""
        return [self.entry(gateway) for gateway in self.release.spec.gateways]

    def load_timeout(self) -> timedelta:
        """Return how long a gateway has to show the plugin."""
        return duration.parse(self.release.spec.checks.load.timeout)

    def progress_deadline(self) -> timedelta:
        """Return how long a rollout may take."""
        return duration.parse(self.release.spec.rollout.progress_deadline)

    async def access(self, placement: Placement) -> Access:
        """Return how the operator pulls: with the secret that the entry's gateways will use."""
        settings, image = self.world.settings, placement.spec.artifact.image
        return Access(
            insecure=image.insecure,
            dockerconfigjson=await pull_secrets.content(self.world.cluster, placement),
            deadline_seconds=settings.pull_deadline,
            max_bytes=settings.pull_max_bytes,
            allow_private_realms=settings.private_realms_of(image_manifests.parse_repository(image.ref)),
            authorities=await ca_certificates.content(self.world.cluster, placement.release),
            registry_ca=await ca_certificates.of_all_registries(settings.registry_ca_file),
        )

    async def resolve_name(self, image: api.ImageSource, access: Access) -> str:
        """Return the reference that the spec names now: with a range of versions, that of the highest tag within it."""
        if image.semver is None:
            return image.ref
        repository = image_manifests.parse_repository(image.ref)
        listed = await self.world.shelf.list_tags(repository, access)
        seen = tags.find_settled_tag(self.release.status.artifact, image)
        picked = tags.pick(repository.name, image.semver, listed.tags, whole=listed.whole, seen=seen)
        if not listed.whole and picked != seen:
            self.tell(Event("Warning", Reason.TAG_LIST_INCOMPLETE, tags.describe_doubt(repository.name, picked)[:1024]))
        return tags.with_tag(image, picked)

    async def ask_registry(self, candidate: Candidate, deadline_seconds: float) -> None:
        """Return when the registry gives the candidate's image out now; raise what `registry.resolve` does."""
        reference = artifacts.reference_of(candidate.artifact.image, None)
        access = replace(await self.access(candidate.placement), deadline_seconds=deadline_seconds)
        await self.world.shelf.ask(reference, access)

    def learn(self, **news: Any) -> None:
        """Add to the report."""
        self.report = replace(self.report, **news)

    def tell(self, event: Event) -> None:
        """Add an event to the report."""
        self.learn(events=(*self.report.events, event))

    def find(self, kind: ConditionType, state: TriState, reason: Reason, message: str) -> None:
        """Add a finding to the report."""
        self.learn(findings=(*self.report.findings, Finding(kind, state, reason, message)))

    def whole_report(self) -> Report:
        """Return the report with those of the entries."""
        return replace(self.report, entries=tuple(entry.report for entry in self.entries.values()))

    async def checkpoint(self) -> None:
        """Write what the entries noted to the status: what follows must not happen without it.

        What was found on the way here goes with it: a pass after a kill finds the write done, and does not look again.
        Entries that note at the same moment share one write.
        """
        async with self._noting:
            report = self.whole_report()
            found = conditions.found_so_far(self.release, report, self.world.now())
            noted = settlement.checkpoint(self.release, report).model_copy(update={"conditions": found})
            if noted == self.release.status:
                return
            await self.world.cluster.apply_status(self.release, noted)
            self.release = self.release.model_copy(update={"status": noted})

    def known_rollout(self) -> api.RolloutStatus:
        """Return the rollout of this pass."""
        assert self.report.rollout is not None  # noqa: S101  learned at the beginning of the pass
        return self.report.rollout


@dataclass(eq=False)
class EntryScope:
    """One entry's part of a pass: ``step`` is the one under way, ``last_look`` what its gateways showed last."""

    work: ReconcileScope
    gateway: api.Gateway
    step: ConditionType = ConditionType.APPLIED
    last_look: LastLook | None = None
    report: EntryReport = field(init=False)

    def __post_init__(self) -> None:
        self.report = EntryReport(self.gateway.name, selector=self.gateway.selector)

    @property
    def name(self) -> str:
        return self.gateway.name

    @property
    def world(self) -> Context:
        return self.work.world

    @property
    def release(self) -> api.Release:
        return self.work.release

    @property
    def provider(self) -> Provider:
        return self.work.provider

    @property
    def row(self) -> api.GatewayStatus | None:
        """What the status says of the entry."""
        return self.release.status.gateway(self.name)

    @property
    def stable(self) -> str | None:
        """The revision that the entry falls back to."""
        return self.row.stable.revision if self.row is not None and self.row.stable is not None else None

    def place(self, effective: api.Release) -> Placement:
        """Return a release, with the artifact and plugin of some revision, as this entry sees it."""
        selector = self.report.intent.selector
        gateway = self.gateway if selector is None else self.gateway.model_copy(update={"selector": selector})
        return Placement(effective, gateway)

    def placement(self) -> Placement:
        """Return the release as this entry sees it."""
        return self.place(self.release)

    async def observe(self) -> JSON | None:
        """Return the object that carries the plugin, as it is now."""
        kind = resources.resource_for(self.provider.TARGET)
        return await self.world.cluster.get(kind, self.gateway.namespace, target.name_object(self.placement()))

    async def apply_all(self, writes: Sequence[plan.Write]) -> JSON | None:
        """Write in order; return what the last write made."""
        applied = None
        for write in writes:
            applied = await self.apply(write)
        return applied

    async def apply(self, write: plan.Write) -> JSON:
        """Write one object, and log it."""
        cluster, uid = self.world.cluster, self.release.metadata.uid
        applied = await self.world.gates.write(uid, lambda: cluster.apply(write.manifest, uid=write.uid))
        log.info("applied", kind=write.manifest["kind"], name=write.manifest["metadata"]["name"], why=write.why)
        return applied

    async def ask_probes(self, reached: Sequence[PodObservation], *, written: bool = True) -> tuple[PodProbe, ...]:
        """Return what these gateways answer to the release's probes; ``written`` False: before the write."""
        return await probes.ask(
            self.world.cluster,
            reached,
            self.release.spec.checks.probes,
            deadline_seconds=self.world.settings.probe_deadline,
            settings=self.world.reach,
            written=written,
        )

    async def sightings(
        self, candidate: Candidate, selected: list[PodRef], since: datetime, habit: ReadOptions = READ_ALL
    ) -> tuple[PodObservation, ...]:
        """Return what each of these pods shows of the wanted plugin now, with its log since a time."""
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
        """Return what these pods' status alone shows of a container that ended since a time."""
        reach = replace(self.world.reach, container=candidate.pods(self.world.mesh).container)
        return await observing.observe_status(self.world.cluster, selected, since=since, settings=reach, options=habit)

    async def neighbours(self, candidate: Candidate) -> list[Neighbour]:
        """Return the other releases that have written to some of the candidate's gateway pods."""
        listed = await self.world.cluster.list(resources.RELEASES, None, {})
        mine = conflict.pods_of(candidate.placement, self.world.mesh)
        found = []
        for other, name, theirs in neighbours.find_neighbour_entries(self.release, listed, self.world.mesh):
            shared = mine.shared_with(theirs)
            if shared is not None:
                there = await self.world.cluster.list(resources.PODS, shared.namespace, shared.labels)
                found.append(neighbours.make_neighbour(other, name, (pod["metadata"]["uid"] for pod in there)))
        return [neighbour for neighbour in found if neighbour is not None]

    async def gateway_pods(self, candidate: Candidate) -> list[PodRef]:
        """Return the selected gateway pods."""
        return await self.list_pods(candidate.pods(self.world.mesh))

    async def list_pods(self, where: target.Pods) -> list[PodRef]:
        """Return the gateway pods as the API server has them now."""
        found = await self.world.cluster.list(resources.PODS, where.namespace, where.labels)
        return pods.select(found, where.container)

    async def raise_loggers(self, selected: list[PodRef]) -> None:
        """Set Envoy's filter logger to debug, where the gateway's own word for "loaded" is found; noted before."""
        known = self.known_observation()
        raised = await loggers.find_levels_to_restore(self.world.cluster, self.release, selected, self.world.reach)
        held = raised_loggers.read(known.raised_loggers)
        new = [level for level in raised if level.mark not in {one.mark for one in held}]
        uid = self.release.metadata.uid
        self.world.left.difference_update({(uid, level.mark) for level in raised})
        if new:
            held = [*held, *new][: api.MAX_OBSERVED_PODS]
            await self.note(known.model_copy(update={"raised_loggers": raised_loggers.store(held)}))
        noted = {level.mark for level in held}  # more than there is room for are not
        raised = [level for level in raised if level.mark in noted]
        gate = loggers.gate(uid)
        await self.world.gates.write(gate, lambda: loggers.raise_all(self.world.cluster, raised, self.world.reach))

    async def put_loggers_back(self) -> None:
        """Restore every log level that this entry raised and no other release needs; forget it only when done."""
        known = self.noted_observation()
        if known is None or not known.raised_loggers:
            return
        uid, raised = self.release.metadata.uid, raised_loggers.read(known.raised_loggers)
        kept = await loggers.restore_all(self.world.cluster, uid, raised, self.world.reach, self.world.left)
        self.learn(observation=known.model_copy(update={"raised_loggers": raised_loggers.store(kept)}))

    async def keep_secret_in_step(self, candidate: Candidate) -> None:
        """Bring a rotated pull secret to the gateways, also while the registry is down; delete one no longer named."""
        self.step = ConditionType.APPLIED
        await self.apply_all(await pull_secrets.writes(self.world.cluster, candidate.placement))
        copy = await pull_secrets.superfluous(self.world.cluster, candidate.placement)
        if copy is not None:
            await self.world.cluster.delete(copy)

    def learn(self, **news: Any) -> None:
        """Add to the entry's report."""
        self.report = replace(self.report, **news)

    def find(self, kind: ConditionType, state: TriState, reason: Reason, message: str) -> None:
        """Add a finding to the entry's report."""
        self.learn(findings=(*self.report.findings, Finding(kind, state, reason, message)))

    def begin_again(self) -> None:
        """Forget how the entry's part of the pass ended; what it noted and wrote stays known."""
        kept = self.report
        self.report = EntryReport(
            self.name,
            selector=self.gateway.selector,
            object=kept.object,
            adopted=kept.adopted,
            observation=kept.observation,
        )

    def fail(self, error: ReleaseError, step: ConditionType | None = None) -> None:
        """End the entry's part of the pass with an error; the others go on, and the first error stays."""
        if self.report.failure is not None:
            log.info("another error", gateway=self.name, reason=error.reason, message=error.message)
            return
        step = step or self.step
        log.info("entry ended early", gateway=self.name, step=str(step), reason=error.reason, message=error.message)
        self.learn(failure=Failure(step, error))

    def aim(self, candidate: Candidate) -> None:
        """Note what the entry's gateways are to run."""
        self.learn(running=candidate.revision)
        if self.report.intent.goal in (Goal.SPEC, Goal.REVISION):
            self.work.learn(target_revision=candidate.revision)
        if self.report.intent.goal is Goal.SPEC:
            self.work.learn(artifact=candidate.artifact)

    async def note(self, begun: api.Observation) -> None:
        """Write the entry's observation to the status at once."""
        self.learn(observation=begun)
        await self.work.checkpoint()

    def rendered(self, candidate: Candidate) -> JSON:
        """Return the object as it should be."""
        known = self.noted_observation()
        nudge = known.refetch if known is not None and known.revision == candidate.revision else None
        return self.provider.wasm_plugin(candidate.placement, candidate.artifact, nudge.count if nudge else 0)

    def target_name(self) -> str:
        """Return the object that is written, for people."""
        return f"{self.provider.TARGET.name} {self.gateway.namespace}/{target.name_object(self.placement())}"

    def decide_intent(self) -> Intent:
        """Note and return what the entry's gateways are to run, by the rollout of this pass."""
        decided = self.work.known_rollout()
        intent = decisions.decide_intent(self.release, decided, self.gateway)
        self.learn(intent=intent, puts_back=self.stable if intent.goal is Goal.ROLLBACK else None)
        return intent

    def way_back(self) -> detour.WayBack:
        """Return how far the entry has come on its way back."""
        decided = self.work.known_rollout()
        return summaries.way_back(decided, decided.failure, self.report)

    def learn_way_back(self, way: detour.WayBack) -> None:
        """Note how far the entry has come on its way back, where that is news."""
        if way != self.way_back():
            self.work.learn(rollout=decisions.with_fallback(self.work.known_rollout(), way.fallback))

    def noted_observation(self) -> api.Observation | None:
        """Return the observation of this pass, or the one that the status has; None where nothing was written."""
        return self.report.observation or self.release.status.observation(self.name)

    def known_observation(self) -> api.Observation:
        """Return the same, of an entry that was written."""
        known = self.noted_observation()
        assert known is not None  # noqa: S101  an entry is settled, or written, only with one
        return known


async def each(entries: Iterable[EntryScope], act: Callable[[EntryScope], Awaitable[Found]]) -> dict[str, Found]:
    """Act for all entries at once; return what came of it by name. An entry whose act fails ends with the error."""
    listed = list(entries)
    results = await asyncio.gather(*(act(entry) for entry in listed), return_exceptions=True)
    found: dict[str, Found] = {}
    for entry, result in zip(listed, results, strict=True):
        if isinstance(result, ReleaseError):
            entry.fail(result)
        elif isinstance(result, BaseException):
            raise result
        else:
            found[entry.name] = result
    return found
