"""kopf's side: one daemon per PluginRelease runs passes until it settles, then waits for an event or the resync.

Events only ring the daemon's bell; every pass reads the release anew. Clean-up hangs on `kopf.on.delete` and not on
the daemon's end: an object that was already being deleted when the operator starts gets no daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import kopf
import structlog

from pluginrelease import api
from pluginrelease.controller import cleanup
from pluginrelease.controller.artifacts import ArtifactCache
from pluginrelease.controller.context import Context
from pluginrelease.controller.reconcile import reconcile
from pluginrelease.core.apiserver import health, stored
from pluginrelease.core.apiserver.answers import NotFound
from pluginrelease.core.apiserver.stored import JSON
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.mesh import providers, target
from pluginrelease.core.status import requeue
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.contact import Contact
from pluginrelease.settings import Settings

log = structlog.get_logger(__name__)

FINALIZER_SECONDS = 10.0
WATCH_PAUSE = 2.0
# while a watch fails again and again
WATCH_PAUSE_MAX = 30.0
# until it is looked again whether a provider's kind is installed
KIND_PAUSE = 10.0
DELETE_PAUSE = 5.0
ANNOTATION_PREFIX = f"kopf.{api.GROUP}"

registry = kopf.OperatorRegistry()
ACTIONS = (api.RETRY_ANNOTATION, api.ROLLBACK_ANNOTATION)
RELEASES = (api.GROUP, api.VERSION, api.PLURAL)


@dataclass
class Memo:
    """What the handlers share: the settings, the world once it is connected, a bell per release, what rang last."""

    settings: Settings
    world: Context | None = None
    bells: dict[str, asyncio.Event] = field(default_factory=dict)
    seen: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    # uid of a release → the gateways' namespaces; a namespace → whom it allows
    reaches: dict[str, frozenset[str]] = field(default_factory=dict)
    allowed: dict[str, str | None] = field(default_factory=dict)
    watches: list[asyncio.Task[None]] = field(default_factory=list)
    contact: Contact = field(init=False)

    def __post_init__(self) -> None:
        self.contact = Contact(needed_watches(self.settings.namespaces))

    async def connect(self) -> None:
        """Makes the world. Raises `Refused` (KubeconfigUnusable)."""
        cluster = await Cluster.connect(self.settings.kubeconfig, contact=self.contact)
        self.world = Context(cluster=cluster, settings=self.settings, shelf=ArtifactCache.of(self.settings))

    def unready(self) -> str | None:
        """Why the operator cannot do its work now."""
        return health.unready(self._facts(), time.monotonic())

    def beyond_help(self) -> str | None:
        """Why only a restart can help."""
        return health.beyond_help(self._facts(), time.monotonic())

    def _facts(self) -> health.Facts:
        return self.contact.facts(has_ended=any(watch.done() for watch in self.watches))

    def bell(self, uid: str) -> asyncio.Event:
        """The release's bell."""
        return self.bells.setdefault(uid, asyncio.Event())

    def ring(self, uid: str | None) -> None:
        """Rings a release's bell, if it has one."""
        if uid in self.bells:
            self.bells[uid].set()

    def connected(self) -> Context:
        """The world; the handlers run only after the start-up made it."""
        if self.world is None:
            raise kopf.TemporaryError("the operator has not connected yet", delay=1)
        return self.world

    def forget(self, uid: str) -> None:
        """The release is gone."""
        self.bells.pop(uid, None)
        self.seen.pop(uid, None)
        self.reaches.pop(uid, None)
        if self.world is not None:
            self.world.forget(uid)


def needed_watches(namespaces: Iterable[str]) -> list[health.Watch]:
    """What must be watched: by kopf releases, in these namespaces or in all, and Namespaces; by ourselves the objects
    that carry plugins, of each provider that is installed."""
    releases = [resources.RELEASES.path(namespace) for namespace in namespaces] or [resources.RELEASES.path()]
    kopfs = [*releases, resources.NAMESPACES.path()]
    ours = [resources.resource_for(kind).path() for kind in providers.TARGETS]
    return [
        *(health.Watch(path, is_kopfs=True, may_miss=False) for path in kopfs),
        *(health.Watch(path, is_kopfs=False, may_miss=True) for path in ours),
    ]


# ------------------------------------------------------------------------------------------- start and end


@kopf.on.startup(registry=registry)
async def start(memo: Memo, settings: kopf.OperatorSettings, **_: Any) -> None:
    """kopf's settings, and our own watches."""
    configure(settings)
    memo.watches = [asyncio.create_task(TargetWatch(memo, kind).follow()) for kind in providers.TARGETS]


@kopf.on.cleanup(registry=registry)
async def end(memo: Memo, **_: Any) -> None:
    """The connection is closed; the gateways are left as they are."""
    for watch in memo.watches:
        watch.cancel()
    if memo.world is not None:
        await memo.world.cluster.__aexit__()


def configure(settings: kopf.OperatorSettings) -> None:
    """One replica, no peering; annotations of our own name; a silent stream is a dead stream."""
    settings.peering.standalone = True
    settings.posting.loggers = False
    settings.posting.reporting_component = "pluginrelease"
    settings.watching.server_timeout = 600
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = [1, 2, 4, 8, 15]
    settings.execution.default_backoff = 5
    settings.persistence.finalizer = api.FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=ANNOTATION_PREFIX, v1=False)
    settings.persistence.diffbase_storage = NothingKept()
    settings.process.ultimate_exiting_timeout = 25


class NothingKept(kopf.DiffBaseStorage):
    """No last-handled annotation: nothing here asks kopf for differences, and on a large ``plugin.config`` the
    annotation would pass the API server's limit and stop all handling of the object (kopf#1087)."""

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """The object as it is, so that kopf never sees a difference."""
        return self.build(body=body)

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing."""


@kopf.on.login(registry=registry)
async def log_in(memo: Memo, **_: Any) -> kopf.AiohttpSession:
    """A session with what the files say now. kopf asks for another one after every answer 401.

    The session is a new one each time: kopf refuses credentials that equal those it has just seen fail (kopf#1158).
    """
    refused = memo.contact.count_login()
    pause = health.login_pause(refused)
    if refused:
        log.warning("the API server refuses the login", answer=memo.contact.refusal, tries=refused, pause=pause)
    await asyncio.sleep(pause)
    login = memo.connected().cluster.login
    try:
        await login.renew()
    except ReleaseError as error:
        raise kopf.TemporaryError(error.sentence(), delay=health.LOGIN_PAUSE_MAX) from error
    return kopf.AiohttpSession(server=login.server, aiohttp_session=login.session(memo.contact))


# ---------------------------------------------------------------------------------------------- the bells


@kopf.on.event(*RELEASES, registry=registry)
async def release_changed(memo: Memo, type: str | None, body: kopf.Body, uid: str, **_: Any) -> None:  # noqa: A002
    """Rings on what a person or a controller changed, never on the operator's own status."""
    if type == "DELETED":
        memo.forget(uid)
        return
    metadata = body["metadata"]
    memo.reaches[uid] = stored.read_gateway_namespaces(dict(body))
    now = (
        metadata.get("generation"),
        *(metadata.get("annotations", {}).get(action) for action in ACTIONS),
        tuple(metadata.get("finalizers", ())),
        metadata.get("deletionTimestamp"),
    )
    if memo.seen.get(uid) != now:
        memo.seen[uid] = now
        memo.bell(uid).set()


@kopf.on.event("v1", "namespaces", registry=registry)
async def namespace_changed(memo: Memo, body: kopf.Body, name: str, **_: Any) -> None:
    """Rings for the releases that reach into a namespace when it allows others, or allows them no longer."""
    allows = body["metadata"].get("annotations", {}).get(api.ALLOWED_NAMESPACES_ANNOTATION)
    known, memo.allowed[name] = memo.allowed.get(name), allows
    if allows == known:
        return
    for uid in [uid for uid, namespaces in memo.reaches.items() if name in namespaces]:
        memo.bell(uid).set()


class TargetWatch:
    """Rings for the release whose object another hand changed or deleted; of one kind.

    Not a watch of kopf's: it looks for a kind that is installed after the operator only when it is told of the
    definition, and that is a moment before the API server serves it. A kind that is not there keeps nobody from others.
    """

    def __init__(self, memo: Memo, kind: target.ResourceKind) -> None:
        self._memo = memo
        self._resource = resources.resource_for(kind)
        # uid of an object → whose it is, and its version
        self._known: dict[str, tuple[str | None, str]] | None = None
        self._is_missing = False

    async def follow(self) -> None:
        """Never returns."""
        failures = 0
        while True:
            pause, failures = WATCH_PAUSE, failures + 1
            try:
                await self._once()
                failures = 0
            except NotFound:
                self._compare([])
                self._is_missing, pause, failures = True, KIND_PAUSE, 0
            except ReleaseError as error:
                log.warning("WasmPlugins are not watched", group=self._resource.group, reason=error.reason)
            except Exception:
                log.exception("WasmPlugins are not watched", group=self._resource.group)
            await asyncio.sleep(min(WATCH_PAUSE_MAX, pause * 2.0 ** min(failures, 16)))

    async def _once(self) -> None:
        labels = {api.MANAGED_BY_LABEL: api.MANAGED_BY}
        async with contextlib.aclosing(self._memo.connected().cluster.tell(self._resource, labels)) as told:
            async for news in told:
                if news["type"] == "LISTED":
                    self._welcome()
                    self._compare(news["items"])
                else:
                    self._take(news["type"], news["object"]["metadata"])

    def _welcome(self) -> None:
        """Releases may be waiting for a kind that was missing; which ones, only a pass knows."""
        if self._is_missing:
            self._is_missing = False
            for uid in [*self._memo.bells]:
                self._memo.ring(uid)

    def _compare(self, items: list[dict[str, Any]]) -> None:
        """What changed while nobody watched; the first listing rings nobody."""
        before, now = self._known, {item["metadata"]["uid"]: noted(item["metadata"]) for item in items}
        self._known = now
        if before is None:
            return
        for uid, (owner, _) in {**before, **now}.items():
            if now.get(uid) != before.get(uid):
                self._memo.ring(owner)

    def _take(self, kind: str, metadata: dict[str, Any]) -> None:
        known, uid = self._known or {}, metadata["uid"]
        owner, _ = known[uid] = noted(metadata)
        if kind == "DELETED":
            del known[uid]
        self._memo.ring(owner)


def noted(metadata: dict[str, Any]) -> tuple[str | None, str]:
    """Whose an object is, and its version."""
    return metadata.get("labels", {}).get(api.UID_LABEL), metadata["resourceVersion"]


class PodWatch:
    """Rings a release's bell when a pod that it selects comes, goes or changes; use as a context manager."""

    def __init__(self, world: Context, bell: asyncio.Event) -> None:
        self._world = world
        self._bell = bell
        self._tasks: dict[target.Pods, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._keep(())

    def follow(self, release: api.Release) -> None:
        """Watch this release's pods from now on; a selector that did not change keeps its watch."""
        provider = providers.of(release.spec)
        self._keep([provider.pods(gateway, self._world.mesh) for gateway in release.spec.gateways])

    def _keep(self, watched: Collection[target.Pods]) -> None:
        for where in [known for known in self._tasks if known not in watched]:
            self._tasks.pop(where).cancel()
        for where in watched:
            if where not in self._tasks:
                self._tasks[where] = asyncio.create_task(self._ring(where))

    async def _ring(self, where: target.Pods) -> None:
        while True:
            with contextlib.suppress(ReleaseError, NotFound):
                async for _ in self._world.cluster.watch(resources.PODS, where.namespace, where.labels):
                    self._bell.set()
            await asyncio.sleep(WATCH_PAUSE)
            self._bell.set()


# --------------------------------------------------------------------------------------------- the daemon


@dataclass(frozen=True)
class Next:
    """After a pass: seconds until the next look, and of which generation the pass was."""

    look_again: float
    generation: int = 0


@kopf.daemon(*RELEASES, registry=registry, cancellation_backoff=1, cancellation_timeout=5)
async def follow(memo: Memo, body: kopf.Body, uid: str, stopped: kopf.DaemonStopped, **_: Any) -> None:
    """Passes over one release, for as long as it lives. It never ends by itself: kopf would not start it again."""
    world, bell = memo.connected(), memo.bell(uid)
    name = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
    with structlog.contextvars.bound_contextvars(release=name):
        async with PodWatch(world, bell) as pod_watch:
            attempt, generation = 0, 0
            while not stopped:
                bell.clear()
                step = await one_pass(world, body, pod_watch, attempt)
                moving = step.look_again < world.settings.resync and step.generation == generation
                attempt, generation = (attempt + 1 if moving else 0), step.generation
                await ring_or_time(bell, stopped, step.look_again)


async def one_pass(world: Context, body: kopf.Body, pod_watch: PodWatch, attempt: int) -> Next:
    """Reads the release, runs the pass, posts its events. Whatever fails here is tried again."""
    metadata = body["metadata"]
    try:
        found = await world.cluster.get(resources.RELEASES, metadata["namespace"], metadata["name"])
        if found is None or found["metadata"]["uid"] != metadata["uid"]:
            return Next(world.settings.resync)
        if api.FINALIZER not in found["metadata"].get("finalizers", []):
            return Next(FINALIZER_SECONDS)
        try:
            release = stored.read(found)
        except Refused as unreadable:
            return await leave_alone(world, found, body, unreadable)
        pod_watch.follow(release)
        ending = await reconcile(world, release, attempt=attempt)
    except ReleaseError as error:
        log.warning("the API server did not take part in the pass", reason=error.reason, message=error.message)
        pause = min(requeue.BACKOFF_MAX, requeue.BACKOFF_FIRST * 2.0 ** min(attempt, 10))
        return Next(max(pause, getattr(error, "retry_after", None) or 0.0))
    for event in ending.events:
        kopf.event(body, type=event.type, reason=event.reason, message=event.message)
    return Next(ending.look_again, release.metadata.generation)


async def leave_alone(world: Context, found: JSON, body: kopf.Body, unreadable: Refused) -> Next:
    """A release that cannot be read says so itself; what it has on the gateways stays."""
    log.error("the release is left alone", reason=unreadable.reason, message=unreadable.message)
    told = stored.describe_status(found, unreadable, world.now())
    if told != found.get("status"):
        kopf.event(body, type="Warning", reason=unreadable.reason, message=unreadable.sentence()[:1024])
        try:
            await world.cluster.apply_raw_status(found["metadata"], told)
        except ReleaseError as error:
            log.warning("its status could not be written", reason=error.reason, message=error.message)
    return Next(world.settings.resync, found["metadata"].get("generation", 0))


async def ring_or_time(bell: asyncio.Event, stopped: kopf.DaemonStopped, seconds: float) -> None:
    """Returns when the bell rings, when the daemon is to stop, and after ``seconds`` at the latest.

    Long waits are spread by a tenth, so that many releases do not look at the gateways all at once.
    """
    spread = random.uniform(0.9, 1.0) if seconds > requeue.PENDING_MAX else 1.0  # noqa: S311  no secret depends on it
    waits = [asyncio.ensure_future(bell.wait()), asyncio.ensure_future(stopped.wait())]
    try:
        await asyncio.wait(waits, timeout=seconds * spread, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


# ---------------------------------------------------------------------------------------------- the clean-up


@kopf.on.delete(*RELEASES, registry=registry)
async def release_deleted(memo: Memo, body: kopf.Body, uid: str, **_: Any) -> None:
    """Runs until the plugin is off the gateways; the finalizer goes after that."""
    world = memo.connected()
    try:
        for event in await cleanup.clean_up(world, dict(body)):
            kopf.event(body, type=event.type, reason=event.reason, message=event.message)
    except ReleaseError as error:
        kopf.event(body, type="Warning", reason=error.reason, message=error.sentence()[:1024])
        delay = getattr(error, "retry_after", None) or DELETE_PAUSE
        raise kopf.TemporaryError(error.sentence(), delay=delay) from error
