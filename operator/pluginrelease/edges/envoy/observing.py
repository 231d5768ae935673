"""Observe gateway pods through the API server: Envoy's admin port over a port-forward, and the pod's log.

A pod that cannot be read is data, never an exception: its `PodObservation` says why. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import quote

from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.gateway import container as containers
from pluginrelease.core.gateway import documents, log_rotation, logs
from pluginrelease.core.gateway.container import LastWords
from pluginrelease.core.gateway.documents import Documents
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.log_rotation import Beginning
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.edges.envoy import admin, control
from pluginrelease.edges.envoy.access import DEFAULT, Channels, GatewayAccess
from pluginrelease.edges.envoy.admin import BROKEN, CLOCK_TOLERANCE, Admin, AdminResponse
from pluginrelease.edges.envoy.dump_cache import READ_ALL, CachedDump, ReadOptions
from pluginrelease.edges.envoy.snapshots import Call, Reading

T = TypeVar("T")

# a line of the time before that which is wanted shows that nothing between the two is missing
LOOK_BACK = timedelta(seconds=2)

# from when the log was read if it was not read at all
NO_LOG = datetime.max.replace(tzinfo=UTC)


async def observe(
    channels: Channels,
    pods: Sequence[PodRef],
    wanted: DesiredPlugin,
    *,
    since: datetime,
    deadline_seconds: float,
    settings: GatewayAccess = DEFAULT,
    options: ReadOptions = READ_ALL,
) -> tuple[PodObservation, ...]:
    """Observe every pod under one deadline, in the given order. Logs are read from ``since`` on.

    A pod whose container does not run is not asked. If ``options`` share snapshots, a valid one is used.
    """
    ends: dict[str, LastWords | None] = {}
    calls: dict[str, Call] = {}

    async def observe_pod(pod: PodRef) -> PodObservation:
        ends[pod.uid] = words = await _read_last_words(channels, pod, since, settings, options)
        if not pod.container.running:
            return _unreached(pod, _explain_not_running(pod, settings), words)
        look = PodLook(channels, pod, wanted, since, settings, options, deadline_seconds)
        read = await look.take(calls)
        at = datetime.now(UTC)
        return replace(documents.observe_pod(pod, at, read, wanted, since), last_words=words)

    def failed(pod: PodRef, error: str) -> PodObservation:
        silent = calls[pod.uid].silence() if pod.uid in calls else None
        return replace(_unreached(pod, error, ends.get(pod.uid)), silent=silent)

    return await _observe_each(pods, observe_pod, failed, deadline_seconds, settings)


@dataclass(frozen=True)
class PodLook:
    """One pod's observation for one release."""

    channels: Channels
    pod: PodRef
    wanted: DesiredPlugin
    since: datetime
    settings: GatewayAccess
    options: ReadOptions
    deadline_seconds: float

    async def take(self, calls: dict[str, Call]) -> Documents:
        """Return a valid snapshot of the pod, and note in ``calls`` how long the gateway has been silent."""
        share = self.options.shared
        if share is None:
            calls[self.pod.uid] = Call()
            return await self.read(calls[self.pod.uid], None)
        reading = share.find(self.pod, self.options.not_before or datetime.now(UTC))
        if reading is None:
            reading = share.begin(self.pod, self.read)
        found = await self._await(reading, calls)
        if self.options.before_write or found.log_from is None or self._find_log_start(found) >= found.log_from:
            return found
        return await self._await(share.begin(self.pod, self.read, found), calls)

    async def read(self, call: Call, log_from: datetime | None) -> Documents:
        """Read the pod within the deadline. ``log_from``: the earliest log line that other releases need."""
        async with asyncio.timeout(self.deadline_seconds):
            return await admin.retry_once(
                lambda: read_documents(
                    self.channels, self.pod, self.wanted, self.since, self.settings, self.options, call, log_from
                )
            )

    async def _await(self, reading: Reading, calls: dict[str, Call]) -> Documents:
        calls[self.pod.uid] = reading.call
        await asyncio.wait([reading.documents])  # a caller that stops waiting does not cancel the read for the others
        return reading.documents.result()

    def _find_log_start(self, found: Documents) -> datetime:
        return find_log_start(self.pod, found, self.wanted, self.since, self.options)


async def observe_status(
    channels: Channels,
    pods: Sequence[PodRef],
    *,
    since: datetime,
    settings: GatewayAccess = DEFAULT,
    options: ReadOptions = READ_ALL,
) -> tuple[PodObservation, ...]:
    """Return what the pods' status shows, and how a container ended. No gateway is asked."""
    words = await asyncio.gather(*(_read_last_words(channels, pod, since, settings, options) for pod in pods))
    return tuple(_unreached(pod, "it was not asked", last) for pod, last in zip(pods, words, strict=True))


def _unreached(pod: PodRef, why: str, words: LastWords | None) -> PodObservation:
    return PodObservation(pod, datetime.now(UTC), unreachable=why, last_words=words)


def _explain_not_running(pod: PodRef, settings: GatewayAccess) -> str:
    why = pod.container.waiting or (pod.container.terminated.reason if pod.container.terminated else "")
    return f"its container {settings.container} does not run{f': {why}' if why else ''}"


async def _read_last_words(
    channels: Channels, pod: PodRef, since: datetime, settings: GatewayAccess, options: ReadOptions
) -> LastWords | None:
    """Return how the container ended, if this was after ``since``.

    Its log is requested once, without waiting for it.
    """
    ended = pod.container.terminated
    if ended is None or ended.at < since - CLOCK_TOLERANCE:
        return None
    known = options.cache.recall_end(pod) if options.cache else None
    if known is not None:
        return known
    try:
        async with asyncio.timeout(settings.last_seconds):
            log = await channels.read_last_log(
                pod.namespace,
                pod.name,
                settings.container,
                previous=not ended.is_state,
                tail_lines=settings.last_lines,
                limit_bytes=settings.last_limit_bytes,
            )
    except (TimeoutError, ReleaseError):
        return containers.read_last_words(ended, "")
    words = containers.read_last_words(ended, log)
    if options.cache:
        options.cache.keep_end(pod, words)
    return words


async def _observe_each(
    pods: Sequence[PodRef],
    observe_pod: Callable[[PodRef], Awaitable[T]],
    failed: Callable[[PodRef, str], T],
    deadline_seconds: float,
    settings: GatewayAccess,
) -> tuple[T, ...]:
    """Observe all pods, ``parallel`` at a time; end each at the common deadline."""
    deadline = asyncio.get_running_loop().time() + deadline_seconds
    free = asyncio.Semaphore(settings.parallel)

    async def bounded(pod: PodRef) -> T:
        try:
            async with asyncio.timeout_at(deadline), free:
                return await observe_pod(pod)
        except TimeoutError:
            return failed(pod, f"no answer within {deadline_seconds:g} s")
        except (*BROKEN, ReleaseError, ValueError) as error:
            return failed(pod, admin.describe_error(error))

    return tuple(await asyncio.gather(*map(bounded, pods)))


async def read_documents(
    channels: Channels,
    pod: PodRef,
    wanted: DesiredPlugin,
    since: datetime,
    settings: GatewayAccess = DEFAULT,
    options: ReadOptions = READ_ALL,
    call: Call | None = None,
    earliest: datetime | None = None,
) -> Documents:
    """Read what one pod answers: first configuration, then statistics, then log.

    In this order a refused configuration also shows in the statistics and the log. ``earliest``: the earliest log line
    that other releases need. Raises what the port-forward raises, and `Unreadable`; the caller sets the deadline.
    """
    async with admin.connect(channels, pod, settings) as gateway:
        start = await _read_start(gateway, call or Call())
        known = options.cache.recall(pod, start.text) if options.cache else None
        info = known.info if known else documents.trim_server_info((await gateway.get("/server_info")).text)
        ecds = await gateway.section("ecds_filters")
        mark = await admin.hash_listeners(gateway) if options.cache else b""
        same = known if known and known.mark == mark != b"" else None
        listeners = same.listeners if same else await gateway.listeners()
        asked_for = filter_statistics(wanted if options.shared is None else None)
        stats = await gateway.get(f"/stats?format=json&filter={quote(asked_for, safe='')}")
        level = await control.read_level(gateway) if options.before_write else None
    if options.cache and not listeners.unknown:
        options.cache.keep(pod, CachedDump(start.text, info, mark, listeners))
    found = Documents(info, start.text, ecds, listeners, stats.text, "", skew=start.skew, logger_level=level)
    container = PodLog(channels, pod, settings, options, start)
    if options.before_write and earliest is None:
        await container.read_head()  # after the write, the log must still begin like this
        return replace(found, log_from=NO_LOG)
    log_from = find_log_start(pod, found, wanted, since, options)
    log_from = log_from if earliest is None else min(log_from, earliest)
    log, truncated = await container.read(log_from)
    return replace(found, log=log, log_truncated=truncated, log_from=log_from)


def find_log_start(
    pod: PodRef, found: Documents, wanted: DesiredPlugin, since: datetime, options: ReadOptions
) -> datetime:
    """Return from which time on the log is needed, by the gateway's clock."""
    log_from = documents.find_log_start(found.ecds, wanted, since + found.skew)
    if options.recent and documents.identify_start(pod, found.start) in options.verified:
        return max(log_from, options.recent + found.skew)
    return log_from


async def _read_start(gateway: Admin, call: Call) -> AdminResponse:
    """Return when this Envoy started. One that hangs accepts the connection and never answers."""
    call.start()
    try:
        answer = await gateway.get("/config_dump?mask=last_updated")
    except BROKEN:
        call.end()
        raise
    call.end()
    return answer


@dataclass(frozen=True)
class PodLog:
    """The log of a pod's container. ``start``: its Envoy's answer that has the start of this run."""

    channels: Channels
    pod: PodRef
    settings: GatewayAccess
    options: ReadOptions
    start: AdminResponse

    async def read(self, since: datetime) -> tuple[str, bool]:
        """Return the log from ``since`` on, and whether lines of it are missing. A short log is read whole, at once."""
        cache = self.options.cache
        if cache is not None and not cache.has_long_log(self.pod, self.start.text):
            head, beginning = await self.read_head()
            if head is not None:
                return logs.cut_before(head, since - LOOK_BACK), not self._is_whole(beginning, since)
        log, truncated = await _read_log(self.channels, self.pod, since - LOOK_BACK, self.settings)
        if truncated or logs.reaches_back(log, since):
            return log, truncated
        _, beginning = await self.read_head()  # in this order, a rotation between the two counts as one before them
        return log, not self._is_whole(beginning, since)

    async def read_head(self) -> tuple[str | None, Beginning]:
        """Return a short log whole, None for a long one, each line with the kubelet's time; and how the log begins."""
        limit = self.settings.log_head_bytes
        place = (self.pod.namespace, self.pod.name, self.settings.container)
        head = await self.channels.read_log_head(*place, limit_bytes=limit)
        is_long = len(head.encode()) >= limit
        now = Beginning(logs.parse_time(head.partition(" ")[0]), datetime.now(UTC) + self.start.skew)
        cache = self.options.cache
        beginning = cache.learn(self.pod, self.start.text, now, is_long=is_long) if cache else now
        return None if is_long else head, beginning

    def _is_whole(self, beginning: Beginning, since: datetime) -> bool:
        return log_rotation.is_whole(beginning, since, documents.read_start(self.start.text))


def filter_statistics(wanted: DesiredPlugin | None) -> str:
    """Return the filter for statistics: Envoy's Wasm, one plugin's subscription (None: all), and worker hangs."""
    name = "" if wanted is None else ".*" + re.escape(f"{wanted.namespace}.{wanted.name}")
    return rf"^wasm\.|^extension_config_discovery\.{name}|^server\.worker_\d+\.watchdog_mega_miss$"


async def _read_log(channels: Channels, pod: PodRef, since: datetime, settings: GatewayAccess) -> tuple[str, bool]:
    """Return the log after ``since``, page by page; or (its last seconds, True) if it is too long for that."""
    pages: list[str] = []
    start = since
    for _ in range(settings.log_pages):
        page = await _read_log_page(channels, pod, start, settings)
        pages.append(page)
        if len(page.encode()) < settings.log_limit_bytes:
            return "\n".join(pages), False
        reached = logs.find_last_time(page)
        if reached is None or reached <= start:
            break
        start = reached
    pages.append(await _read_log_page(channels, pod, datetime.now(UTC) - timedelta(seconds=5), settings))
    return "\n".join(pages), True


async def _read_log_page(channels: Channels, pod: PodRef, since: datetime, settings: GatewayAccess) -> str:
    limit = settings.log_limit_bytes
    return await channels.read_log(pod.namespace, pod.name, settings.container, since=since, limit_bytes=limit)
