"""kopf's side: one daemon per PluginRelease runs passes until it settles, then waits for an event or the resync.

Events only wake the daemon; every pass reads the release again. Clean-up hangs on `kopf.on.delete` and not on the
daemon's end: an object that was already being deleted when the operator starts gets no daemon.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import kopf
import structlog

from pluginrelease import api
from pluginrelease.controller import cleanup, interruption, logbook, measuring
from pluginrelease.controller.artifacts import ArtifactCache
from pluginrelease.controller.context import Context, mesh_of
from pluginrelease.controller.interruption import SeenRelease
from pluginrelease.controller.lease import Leadership
from pluginrelease.controller.lease_thread import LeaseThread
from pluginrelease.controller.reconcile import reconcile
from pluginrelease.controller.recorder import Recorder
from pluginrelease.controller.store import Store
from pluginrelease.controller.turns import Stake, Turns
from pluginrelease.controller.unreadable import leave_alone
from pluginrelease.controller.wakeups import PodWatch, Wakeups
from pluginrelease.controller.writer import Writer
from pluginrelease.core.apiserver import health, stored
from pluginrelease.core.apiserver.scope import Scope
from pluginrelease.core.apiserver.stored import JSON
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.mesh import providers
from pluginrelease.core.rollout.report import Event
from pluginrelease.core.status import requeue
from pluginrelease.core.status.event_records import CLEAN_UP, Regarding
from pluginrelease.edges.healthz import Health
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.contact import Contact
from pluginrelease.edges.kubernetes.limiter import Limiter, way_back
from pluginrelease.edges.kubernetes.login import Login
from pluginrelease.edges.metrics import Metrics, PassResult
from pluginrelease.settings import Settings

log = structlog.get_logger(__name__)

Made = TypeVar("Made")

FINALIZER_SECONDS = 10.0
# passes over specs that return to an earlier revision which go before all others
RETURNS_AT_ONCE = 8
DELETE_PAUSE = 5.0
# besides one watch per namespace; kopf has no bound of its own, and patches finalizers of hundreds of releases at once
KOPFS_CONNECTIONS = 24
ANNOTATION_PREFIX = f"kopf.{api.GROUP}"

registry = kopf.OperatorRegistry()
RELEASES = (api.GROUP, api.VERSION, api.PLURAL)


@dataclass
class Memo:
    """What the handlers share: the settings, the context once it is connected, and one bell per release to wake it."""

    settings: Settings
    context: Context | None = None
    bells: dict[str, asyncio.Event] = field(default_factory=dict)
    store: Store | None = None
    recorder: Recorder | None = None
    turns: Turns = field(init=False)
    lease: LeaseThread = field(init=False)
    contact: Contact = field(init=False)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.contact = Contact(needed_watches(self.settings.scope))
        self.lease = LeaseThread(self._lead)
        self.turns = Turns(self.settings.parallel_passes)
        measuring.begin_at_zero(self.metrics)

    async def _lead(self) -> Leadership:
        """Log in a second time, because a connection belongs to the event loop that made it."""
        settings = self.settings
        login = await Login.read(settings.kubeconfig, agent=settings.identity)
        return Leadership.of(login, self.contact, settings)

    async def connect(self) -> None:
        """Make the context. Raises `Refused` (KubeconfigUnusable)."""
        settings = self.settings
        login = await Login.read(settings.kubeconfig, agent=settings.identity)
        await self.lease.start()
        limiter = Limiter(observe=partial(measuring.observe_wait, self.metrics))
        fence = self.lease.require
        cluster = Cluster(login, self.contact, fence=fence, limiter=limiter, scope=settings.scope)
        self.store = Store(cluster, mesh_of(settings), settings.scope)
        shelf = ArtifactCache.of(settings, self.metrics)
        writer = Writer(cluster, self.store)
        self.context = Context(cluster, settings, shelf, writer, self.store, fence=fence, metrics=self.metrics)
        standings = measuring.Standings(self.contact, self.lease, self.turns, self.store)
        self.metrics.read_from(lambda: standings.read(self._facts(), time.monotonic()))
        self.recorder = Recorder(self.context.writer, settings.identity, self.context.now)
        self.recorder.start()

    async def disconnect(self) -> None:
        """Close every connection."""
        if self.recorder is not None:
            await self.recorder.stop()
        if self.store is not None:
            self.store.stop()
        await self.lease.stop()
        if self.context is not None:
            await self.context.cluster.__aexit__()

    async def begin(self) -> None:
        """Start all watches; return once kopf can start. It does not wait for a kind that is not installed yet."""
        self.contact.begin()
        store = self.known()
        Wakeups(store, self.ring, self.forget).listen()
        store.start()
        await store.synced()

    def known(self) -> Store:
        """Return the store; it exists from the start-up on."""
        if self.store is None:
            raise kopf.TemporaryError("the operator has not connected yet", delay=1)
        return self.store

    def readiness(self) -> Health:
        """Return whether the operator can do its work now. A standby says that it is one."""
        facts = self._facts()
        wrong = health.unready(facts, time.monotonic())
        return Health(False, wrong) if wrong else Health(True, facts.stands_by or "ok")

    def liveness(self) -> Health:
        """Return whether the process is alive: False if only a restart helps."""
        wrong = health.beyond_help(self._facts(), time.monotonic())
        return Health(False, wrong) if wrong else Health(True)

    def _facts(self) -> health.ContactFacts:
        return self.contact.facts(
            has_ended=self.store is not None and self.store.has_ended(),
            stands_by=self.lease.describe_wait(),
            trouble=self.lease.trouble(),
            stood_still=self.lease.stood_still(),
            longest_pass=self.turns.oldest(),
        )

    def bell(self, uid: str) -> asyncio.Event:
        """Return the release's bell."""
        return self.bells.setdefault(uid, asyncio.Event())

    def tell(self, body: JSON | kopf.Body, event: Event, *, action: str = "") -> None:
        """Post an Event about a release."""
        measuring.observe_event(self.metrics, event)
        if self.recorder is not None:
            self.recorder.record(Regarding.of(dict(body)), event, action=action)

    def ring(self, uid: str | None) -> None:
        """Wake a release, if it has a bell."""
        if uid in self.bells:
            self.bells[uid].set()

    def connected(self) -> Context:
        """Return the context. The handlers run only after the start-up made it."""
        if self.context is None:
            raise kopf.TemporaryError("the operator has not connected yet", delay=1)
        return self.context

    def forget(self, uid: str) -> None:
        """Forget a release that is gone."""
        self.bells.pop(uid, None)
        if self.recorder is not None:
            self.recorder.forget(uid)
        if self.context is not None:
            self.context.forget(uid)


def needed_watches(scope: Scope) -> list[health.Watch]:
    """Return what must be watched.

    kopf and the operator both watch releases. The operator also watches Namespaces, and the objects that carry plugins,
    for each installed provider. If gateways' namespaces are listed, it watches objects in each of these.
    """
    releases = [resources.RELEASES.path(namespace) for namespace in scope.watched] or [resources.RELEASES.path()]
    namespaces = [] if scope.gateways else [resources.NAMESPACES.path()]
    kinds = [resources.resource_for(kind) for kind in providers.TARGETS]
    carriers = [kind.path(place) for kind in kinds for place in scope.places(kind.plural)]
    may_be_forbidden = bool(scope.gateways)
    return [
        *(health.Watch(path, is_kopfs=True, may_miss=False) for path in releases),
        *(health.Watch(path, is_kopfs=False, may_miss=False) for path in (*releases, *namespaces)),
        *(health.Watch(path, False, may_miss=True, may_be_forbidden=may_be_forbidden) for path in carriers),
    ]


# ------------------------------------------------------------------------------------------- start and end


@kopf.on.startup(registry=registry)
async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Set kopf's settings."""
    configure(settings)


def configure(settings: kopf.OperatorSettings) -> None:
    """Use no peering, because there is a Lease; watch only releases; use annotations of our own prefix."""
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.watching.server_timeout = 600
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 30  # this includes the wait for a free connection
    settings.networking.error_backoffs = [1, 2, 4, 8, 15]
    settings.execution.default_backoff = 5
    settings.persistence.finalizer = api.FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=ANNOTATION_PREFIX, v1=False)
    settings.persistence.diffbase_storage = NothingKept()
    settings.process.ultimate_exiting_timeout = 25


class NothingKept(kopf.DiffBaseStorage):
    """Write no last-handled annotation, and compare nothing.

    Nothing here asks kopf for differences. With a large ``plugin.config`` the annotation would exceed the API server's
    limit, and kopf would stop handling the object (kopf#1087). To compare, kopf would copy each object several times at
    each event.
    """

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:
        """Return nothing, whatever the object is."""
        del body, extra_fields
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Return the same, so that kopf never sees a difference."""
        return self.build(body=body)

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Store nothing."""


@kopf.on.login(registry=registry)
async def log_in(memo: Memo, **_: Any) -> kopf.AiohttpSession:
    """Return a session with the credentials that the files have now. kopf asks for one after every answer 401.

    The session is new each time: kopf refuses credentials that equal those that it has just seen fail (kopf#1158).
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
    connections = KOPFS_CONNECTIONS + len(memo.settings.namespaces)
    session = login.session(memo.contact, is_kopfs=True, connections=connections)
    return kopf.AiohttpSession(server=login.server, aiohttp_session=session)


# --------------------------------------------------------------------------------------------- the daemon


@dataclass(frozen=True)
class Next:
    """What follows a pass: seconds until the next one, the generation that the pass saw, and the next one's stake.

    ``result``: how the pass ended.
    """

    look_again: float
    generation: int = 0
    stake: Stake = Stake.NOTHING
    result: PassResult = PassResult.ENDED


@dataclass
class Progress:
    """How far the passes over one release are. ``attempt``: how many passes in a row did not settle."""

    stake: Stake
    attempt: int = 0
    generation: int = 0
    seen: SeenRelease = field(default_factory=SeenRelease)

    def note(self, step: Next, resync: float) -> None:
        """Note a pass that ended."""
        moving = step.look_again < resync and step.generation == self.generation
        self.attempt = self.attempt + 1 if moving else 0
        self.generation, self.stake = step.generation, step.stake


@kopf.daemon(*RELEASES, registry=registry, cancellation_backoff=1, cancellation_timeout=5)
async def follow(memo: Memo, body: kopf.Body, uid: str, stopped: kopf.DaemonStopped, **_: Any) -> None:
    """Run passes over one release for as long as it lives.

    It must not return before that: kopf would not start it again.
    """
    context, bell = memo.connected(), memo.bell(uid)
    place = body["metadata"]["namespace"], body["metadata"]["name"]
    with structlog.contextvars.bound_contextvars(release="/".join(place)):
        async with PodWatch(memo.known(), context.mesh, uid, memo.ring) as pod_watch:
            progress = Progress(interruption.read_stake(dict(body), context.now()))
            while not stopped:
                bell.clear()
                step = await pass_in_turn(memo, body, pod_watch, bell, progress)
                if step is None:
                    await context.writer.finish(uid)
                    progress.stake = Stake.OUTAGE
                    continue
                progress.note(step, context.settings.resync)
                await ring_or_time(bell, stopped, spread(step.look_again, context.settings.resync, pod_watch.name))


async def pass_in_turn(
    memo: Memo, body: kopf.Body, pod_watch: PodWatch, bell: asyncio.Event, progress: Progress
) -> Next | None:
    """Run a pass when it is its turn; return None if something urgent interrupted it."""
    context, place, seen = memo.connected(), (body["metadata"]["namespace"], body["metadata"]["name"]), progress.seen
    stake, seen.heard = progress.stake, dict(body)
    if is_way_back(memo, interruption.find_known(context, place, seen.heard)) or (
        memo.turns.are_taken(stake) and await interruption.is_urgent(context, place, seen)
    ):
        stake = Stake.OUTAGE

    seen.has_begun = False

    async def run() -> Next:
        came = time.monotonic()
        async with memo.turns.take(stake):
            await context.right_of_way.give_way()
            memo.metrics.turns.labels(measuring.name(stake)).observe(time.monotonic() - came)
            passing = one_pass(memo, body, pod_watch, progress.attempt, seen)
            with measuring.timed_pass(memo.metrics) as timed:
                step = await within_bounds(passing, progress.attempt, stake)
                timed.result = step.result
                return step

    with context.right_of_way.going_back() if stake is Stake.OUTAGE else nullcontext():
        return await interruption.run_until_urgent(context, place, run, bell, seen)


def is_way_back(memo: Memo, found: JSON) -> bool:
    """Return whether a user asks for what ran before: by a command, or by a spec that returns to it.

    Many specs may return at once, with one commit. They have a bound, as each of them reads a registry and gateways.
    """
    if interruption.has_new_command(found):
        return True
    return memo.turns.under_way(Stake.OUTAGE) < RETURNS_AT_ONCE and interruption.returns(found)


async def within_bounds(passing: Coroutine[Any, Any, Next], attempt: int, stake: Stake) -> Next:
    """Run a pass. Cancel one that hangs, as for something urgent; the next one starts from the beginning."""
    return await await_end(passing) or Next(requeue.back_off(attempt), stake=stake, result=PassResult.TIMED_OUT)


async def await_end(passing: Coroutine[Any, Any, Made]) -> Made | None:
    """Return what a pass or a clean-up returns; cancel one that hangs, and return None."""
    try:
        async with asyncio.timeout(health.PASS_SECONDS) as bound:
            return await passing
    except TimeoutError:
        if not bound.expired():
            raise
        log.error("the pass took too long and was cancelled", seconds=health.PASS_SECONDS)
        return None


async def one_pass(memo: Memo, body: kopf.Body, pod_watch: PodWatch, attempt: int, seen: SeenRelease) -> Next:
    """Read the release, run the pass, and post its events. After an error the next pass comes soon."""
    context, metadata, seen.has_begun = memo.connected(), body["metadata"], True
    try:
        found = await interruption.find_release(context, (metadata["namespace"], metadata["name"]), dict(body))
        if found is None or found["metadata"]["uid"] != metadata["uid"]:
            return Next(context.settings.resync)
        seen.note(found)
        if api.FINALIZER not in found["metadata"].get("finalizers", []):
            return Next(FINALIZER_SECONDS)
        try:
            release = stored.read(found)
        except Refused as unreadable:
            is_done = await leave_alone(context, found, unreadable, lambda event: memo.tell(found, event))
            look_again = context.settings.resync if is_done else requeue.back_off(attempt)
            return Next(look_again, found["metadata"].get("generation", 0))
        pod_watch.follow(release)
        logbook.bind(release)
        ending = await reconcile(context, release, attempt=attempt, tell=lambda event: memo.tell(found, event))
        logbook.tell_turn(release.status, ending.status)
    except ReleaseError as error:
        log.warning("the API server ended the pass", reason=error.reason, message=error.message)
        pause = max(requeue.back_off(attempt), getattr(error, "retry_after", None) or 0.0)
        stake = interruption.read_stake(dict(body), context.now())
        return Next(pause, stake=stake, result=PassResult.FAILED)
    measuring.observe_ending(context, release.status, ending.status)
    settled = release.model_copy(update={"status": ending.status})
    return Next(ending.look_again, release.metadata.generation, interruption.find_stake(settled, context.now()))


def spread(seconds: float, resync: float, pods: str) -> float:
    """Return the seconds until the next pass.

    Long waits are spread, so that many releases do not wake at once. At rest all releases on the same ``pods`` wake
    together, so that the operator reads these pods once.
    """
    if seconds >= resync:
        return requeue.until_slot(seconds, pods, time.time())
    factor = random.uniform(0.9, 1.0) if seconds > requeue.PENDING_MAX else 1.0  # noqa: S311  no secret depends on it
    return seconds * factor


async def ring_or_time(bell: asyncio.Event, stopped: kopf.DaemonStopped, seconds: float) -> None:
    """Return when the release is woken, when the daemon should stop, or after ``seconds``."""
    waits = [asyncio.ensure_future(bell.wait()), asyncio.ensure_future(stopped.wait())]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


# ---------------------------------------------------------------------------------------------- the clean-up


@kopf.on.delete(*RELEASES, registry=registry)
async def release_deleted(memo: Memo, body: kopf.Body, uid: str, **_: Any) -> None:
    """Run until the plugin is removed from the gateways. Then kopf removes the finalizer.

    A clean-up that hangs is cancelled as a pass is. The next one starts from the beginning.
    """
    metadata = body["metadata"]
    with structlog.contextvars.bound_contextvars(release=f"{metadata['namespace']}/{metadata['name']}"):
        await clean_up_in_time(memo, body)


async def clean_up_in_time(memo: Memo, body: kopf.Body) -> None:
    """Run the clean-up as a pass that waits for no place. Raises `kopf.TemporaryError` while it is not done."""
    context = memo.connected()
    try:
        async with memo.turns.take(Stake.OUTAGE):
            with way_back():
                told = await await_end(cleanup.clean_up(context, dict(body)))
        if told is None:
            raise kopf.TemporaryError("the clean-up did not end", delay=DELETE_PAUSE)
        for event in told:
            memo.tell(body, event, action=CLEAN_UP)
    except ReleaseError as error:
        memo.tell(body, Event("Warning", error.reason, error.sentence()), action=CLEAN_UP)
        delay = getattr(error, "retry_after", None) or DELETE_PAUSE
        raise kopf.TemporaryError(error.sentence(), delay=delay) from error
