"""Choose which of several operators acts: this process's side of the Leases (`core.apiserver.lease` decides).

Renewals have their own connection and thread (`lease_thread`), and no rate limit delays them. No handler runs without
the Leases. A process that loses one exits, because what it knows may be out of date.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Self

import structlog

from pluginrelease.api.reasons import Reason
from pluginrelease.core.apiserver import lease
from pluginrelease.core.apiserver.answers import NotFound
from pluginrelease.core.apiserver.lease import LeaseRecord, ObservedLease
from pluginrelease.core.errors import ReleaseError, Transient
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.contact import Contact
from pluginrelease.edges.kubernetes.login import Login
from pluginrelease.settings import Settings

log = structlog.get_logger(__name__)

# seconds for one request about a Lease: after two that hang there is time for a third
REQUEST_SECONDS = 3.0


class LeaseLost(Exception):
    """Another operator holds the Lease, or this one did not renew it in time."""


def read_clock() -> float:
    """Return seconds of a monotonic clock, which also counts while the machine sleeps if the platform has one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def read_time() -> datetime:
    """Return the time of day, for people only: nothing is decided by it."""
    return datetime.now(UTC)


@dataclass
class LeaseHolder:
    """One Lease, whether this process holds it, and why the last request about it failed."""

    cluster: Cluster
    place: tuple[str, str]
    identity: str
    clock: Callable[[], float] = read_clock
    utc_now: Callable[[], datetime] = read_time
    held: LeaseRecord | None = None
    renewed_at: float | None = None
    observed: ObservedLease | None = None
    trouble: str = ""
    _tried_at: float = field(default=0.0, init=False)

    async def acquire(self) -> None:
        """Return once the Lease is held."""
        while True:
            if await self._attempt(self._try_to_take()):
                return
            await asyncio.sleep(lease.RENEW_EVERY)

    async def keep(self) -> None:
        """Renew the Lease until it is lost. Raises `LeaseLost`."""
        while True:
            await asyncio.sleep(max(0.0, self._tried_at + lease.RENEW_EVERY - self.clock()))
            await self._attempt(self._try_to_renew())
            if not self.may_write():
                raise LeaseLost(f"Lease {'/'.join(self.place)} was not renewed in time: {self.trouble}")

    def may_write(self) -> bool:
        """Return whether a write may begin now."""
        return self.held is not None and lease.may_begin_write(self.renewed_at, self.clock())

    def age(self) -> float | None:
        """Return the seconds since the Lease was renewed; None if it is not held."""
        return None if self.held is None or self.renewed_at is None else self.clock() - self.renewed_at

    async def give_back(self) -> None:
        """Release the Lease, so that the next operator takes it at once. If this request fails, it must wait."""
        if self.held is None:
            return
        record, self.held = lease.give_back(self.held, self.utc_now()), None
        await self._attempt(self._replace(record))

    async def _attempt(self, asking: Awaitable[object]) -> bool:
        """Send one or two requests; return whether they succeeded. Note the error."""
        self._tried_at = self.clock()
        try:
            async with asyncio.timeout(self._patience()):
                done = bool(await asking)
        except (ReleaseError, NotFound) as error:
            self._note(error.message)
        except TimeoutError:
            self._note("the API server did not answer in time")
        else:
            self.trouble = ""
            return done
        return False

    def _patience(self) -> float:
        """Return the seconds for one try: it must end before the Lease is lost."""
        if self.renewed_at is None or self.held is None:
            return 2 * REQUEST_SECONDS
        return min(REQUEST_SECONDS, max(0.1, self.renewed_at + lease.RENEWED_WITHIN - self.clock()))

    def _note(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("the Lease could not be written", lease="/".join(self.place), why=trouble)
        self.trouble = trouble

    async def _try_to_take(self) -> bool:
        namespace, name = self.place
        found = await self.cluster.get(resources.LEASES, namespace, name)
        if found is not None:
            self.observed = lease.observe(self.observed, lease.read(found), self.clock())
        if not lease.may_take(self.observed, self.identity, self.clock()):
            return False
        began, record = self.clock(), lease.take(self.observed, self.identity, self.utc_now())
        if found is None:  # it is free; or a user deleted it, and its holder may still write
            made = await self.cluster.create(lease.render(self.place, replace(record, version="")))
            self._hold(lease.read(made), began)
        else:
            self._hold(await self._replace(record), began)
        return True

    async def _try_to_renew(self) -> bool:
        assert self.held is not None  # noqa: S101  it was taken before it is kept
        began, record = self.clock(), lease.renew(self.held, self.utc_now())
        try:
            answer = await self._replace(record)
        except NotFound as error:
            raise self._lose("no operator: it was deleted") from error
        except Transient as error:
            if error.reason is not Reason.CONFLICT:
                raise
            answer = await self._replace(lease.renew(await self._find_again(), self.utc_now()))
        self._hold(answer, began)
        return True

    async def _find_again(self) -> LeaseRecord:
        """Return the record after a conflict: another client set a label, or an answer was lost. Raises `LeaseLost`."""
        assert self.held is not None  # noqa: S101  it was taken before it is kept
        found = await self.cluster.get(resources.LEASES, *self.place)
        record = LeaseRecord("", 0) if found is None else lease.read(found)
        if not lease.is_still_held(self.held, record):
            raise self._lose(record.holder or "nobody")
        return record

    def _lose(self, holder: str) -> LeaseLost:
        self.held = None
        return LeaseLost(f"Lease {'/'.join(self.place)} is held by {holder}")

    async def _replace(self, record: LeaseRecord) -> LeaseRecord:
        return lease.read(await self.cluster.replace(lease.render(self.place, record)))

    def _hold(self, record: LeaseRecord, began: float) -> None:
        self.held, self.renewed_at = record, began


class Leadership:
    """All Leases that this process must hold before it acts."""

    def __init__(self, holders: Sequence[LeaseHolder], cluster: Cluster | None = None) -> None:
        self._holders = holders
        self._cluster = cluster
        self._keeping: list[asyncio.Task[None]] = []

    @classmethod
    def of(cls, login: Login, contact: Contact, settings: Settings) -> Self:
        """Return the Leases for the watched namespaces, over a connection of their own."""
        cluster = Cluster(login, contact)
        places = lease.choose_places(settings.namespaces, settings.lease_namespace)
        return cls([LeaseHolder(cluster, place, settings.identity) for place in places], cluster)

    async def close(self) -> None:
        """Close the connection."""
        if self._cluster is not None:
            await self._cluster.__aexit__()

    async def acquire(self) -> None:
        """Return once every Lease is held. Raises `LeaseLost` if one is lost meanwhile.

        All operators take them in the same order, so that no two wait for each other.
        """
        for holder in self._holders:
            await self._while_kept(holder.acquire())
            log.info("the Lease is held", lease="/".join(holder.place), identity=holder.identity)
            self._keeping.append(asyncio.create_task(holder.keep()))

    async def lost(self) -> str:
        """Wait until a Lease is lost; return why."""
        done, _ = await asyncio.wait(self._keeping, return_when=asyncio.FIRST_COMPLETED)
        return "; ".join(str(task.exception()) for task in done)

    async def _while_kept(self, acquiring: Awaitable[None]) -> None:
        task = asyncio.ensure_future(acquiring)
        try:
            done, _ = await asyncio.wait([task, *self._keeping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            task.cancel()
        for ended in done:
            ended.result()

    def may_write(self) -> bool:
        """Return whether a write may begin now."""
        return bool(self._keeping) and all(holder.may_write() for holder in self._holders)

    def require(self) -> None:
        """Raise `Transient` (LeaseNotHeld) if no write may begin now."""
        if not self.may_write():
            text = "the operator's Lease was not renewed in time, so another operator may act now"
            raise Transient(Reason.LEASE_NOT_HELD, text, "The holder of the Lease continues")

    def age(self) -> float | None:
        """Return the seconds since the oldest renewal; None if not all Leases are held."""
        ages = [holder.age() for holder in self._holders]
        known = [age for age in ages if age is not None]
        return max(known) if known and len(known) == len(ages) else None

    def describe_wait(self) -> str | None:
        """Say which Lease the operator waits for; None if it holds all."""
        waiting = next((holder for holder in self._holders if holder.held is None), None)
        return None if waiting is None else lease.describe_wait(waiting.place, waiting.observed)

    def trouble(self) -> str | None:
        """Say why the request for an awaited Lease failed; None if it did not."""
        return next((holder.trouble for holder in self._holders if holder.held is None and holder.trouble), None)

    async def give_back(self) -> None:
        """Stop renewing, and release the Leases. No write may be running."""
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        await asyncio.gather(*(holder.give_back() for holder in self._holders))
