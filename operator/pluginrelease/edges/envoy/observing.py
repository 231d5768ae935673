"""Gateway pods seen through the API server: HTTP to Envoy's admin port over a port-forward, and the pod's log.

A pod that cannot be read is data, never an exception: its `PodObservation` says why. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
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
from pluginrelease.edges.envoy import admin
from pluginrelease.edges.envoy.access import DEFAULT, Channels, GatewayAccess
from pluginrelease.edges.envoy.admin import BROKEN, CLOCK_TOLERANCE, Admin, AdminResponse
from pluginrelease.edges.envoy.dump_cache import READ_ALL, CachedDump, ReadOptions

T = TypeVar("T")

# a line of the time before that which is wanted shows that nothing between the two is missing
LOOK_BACK = timedelta(seconds=2)


class Call:
    """A connection that an admin port has taken, and on which it has not answered yet."""

    def __init__(self) -> None:
        self._since: float | None = None

    def start(self) -> None:
        """Note that the connection is there; from now on an answer is awaited."""
        self._since = asyncio.get_running_loop().time()

    def end(self) -> None:
        """Note that the port has answered, or the connection has broken."""
        self._since = None

    def silence(self) -> timedelta | None:
        """For how long an answer has been awaited; None where none is."""
        return None if self._since is None else timedelta(seconds=asyncio.get_running_loop().time() - self._since)


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
    """Every pod, in the order given, under one deadline; ``since`` is where reading the logs begins.

    A pod whose container does not run is not asked.
    """
    ends: dict[str, LastWords | None] = {}
    calls = {pod.uid: Call() for pod in pods}

    async def observe_pod(pod: PodRef) -> PodObservation:
        ends[pod.uid] = words = await _read_last_words(channels, pod, since, settings, options)
        if not pod.container.running:
            return _unreached(pod, _explain_not_running(pod, settings), words)
        read = await admin.retry_once(
            lambda: read_documents(channels, pod, wanted, since, settings, options, calls[pod.uid])
        )
        return replace(documents.observe_pod(pod, datetime.now(UTC), read, wanted, since), last_words=words)

    def failed(pod: PodRef, error: str) -> PodObservation:
        return replace(_unreached(pod, error, ends.get(pod.uid)), silent=calls[pod.uid].silence())

    return await _observe_each(pods, observe_pod, failed, deadline_seconds, settings)


async def observe_status(
    channels: Channels,
    pods: Sequence[PodRef],
    *,
    since: datetime,
    settings: GatewayAccess = DEFAULT,
    options: ReadOptions = READ_ALL,
) -> tuple[PodObservation, ...]:
    """What the pods' status alone shows, with how a container ended that has; no gateway is asked."""
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
    """How the container ended, when that was after ``since``; what it said is asked for once, and is not waited for."""
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
    """All pods side by side, ``parallel`` at a time, each ended by the common deadline."""
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
) -> Documents:
    """What one pod answers, unjudged. Configuration before statistics before log: what refused the first then shows
    in the others. Raises what the port-forward raises, and `Unreadable`; the caller sets the deadline.
    """
    async with admin.connect(channels, pod, settings) as gateway:
        start = await _read_start(gateway, call or Call())
        known = options.cache.recall(pod, start.text) if options.cache else None
        info = known.info if known else documents.trim_server_info((await gateway.get("/server_info")).text)
        ecds = await gateway.section("ecds_filters")
        mark = await admin.hash_listeners(gateway) if options.cache else b""
        same = known if known and known.mark == mark != b"" else None
        listeners = same.listeners if same else await gateway.listeners()
        stats = await gateway.get(f"/stats?format=json&filter={quote(_filter_statistics(wanted), safe='')}")
    if options.cache and not listeners.unknown:
        options.cache.keep(pod, CachedDump(start.text, info, mark, listeners))
    log_from = documents.find_log_start(ecds, wanted, since + start.skew)
    if options.recent and documents.identify_start(pod, start.text) in options.verified:
        log_from = max(log_from, options.recent + start.skew)
    log, truncated = await _read_log(channels, pod, log_from - LOOK_BACK, settings)
    if not truncated and not logs.reaches_back(log, log_from):
        found = await _read_log_beginning(channels, pod, start, settings, options)
        truncated = not log_rotation.is_whole(found, log_from, documents.read_start(start.text))
    return Documents(info, start.text, ecds, listeners, stats.text, log, truncated, start.skew, log_from)


async def _read_start(gateway: Admin, call: Call) -> AdminResponse:
    """When this run of Envoy began. One that hangs takes the connection, and never answers."""
    call.start()
    try:
        answer = await gateway.get("/config_dump?mask=last_updated")
    except BROKEN:
        call.end()
        raise
    call.end()
    return answer


async def _read_log_beginning(
    channels: Channels, pod: PodRef, start: AdminResponse, settings: GatewayAccess, options: ReadOptions
) -> Beginning:
    """How the log begins, after it was read: a rotation between the two is taken for one before."""
    first = await channels.log_begins(pod.namespace, pod.name, settings.container)
    now = Beginning(first, datetime.now(UTC) + start.skew)
    return options.cache.learn(pod, start.text, now) if options.cache else now


def _filter_statistics(wanted: DesiredPlugin) -> str:
    """Envoy's own Wasm statistics, and those of the subscription of one plugin."""
    name = re.escape(f"{wanted.namespace}.{wanted.name}")
    return rf"^wasm\.|^extension_config_discovery\..*{name}"


async def _read_log(channels: Channels, pod: PodRef, since: datetime, settings: GatewayAccess) -> tuple[str, bool]:
    """The whole log since a time, page by page; (its last seconds, True) behind a gap when it is too long for that."""
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
