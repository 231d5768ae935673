"""Informers: the objects of one kind, in one namespace or all, kept up to date with one list and one watch.

An informer never gives up. What stops it is a state that can be read: no right (403), a kind that is not installed
(404), or an API server that does not answer. After a lost history (410) it lists again.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

from pluginrelease.api.reasons import Reason
from pluginrelease.core.apiserver import watching
from pluginrelease.core.apiserver.answers import NotFound
from pluginrelease.core.apiserver.indexes import ChangeIndex
from pluginrelease.core.apiserver.projections import Projection
from pluginrelease.core.apiserver.watching import Change, Place
from pluginrelease.core.errors import ReleaseError
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.client import Cluster, Expired
from pluginrelease.edges.kubernetes.resources import JSON, Resource

# up to this many characters, equal texts of several objects share memory
SHORT = 40

Trouble = ReleaseError | NotFound
# called with a change, and whether it is this process's own
Subscriber = Callable[[Change, bool], None]
# called with what stops an informer, before and now
StateListener = Callable[[Trouble | None, Trouble | None], None]


@dataclass(frozen=True)
class Topic:
    """What is watched. ``namespace`` None: all. ``labels``: only objects that have these; None: with any value."""

    resource: Resource
    namespace: str | None = None
    labels: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True)
class Pauses:
    """Seconds between two tries: growing ones after errors; one for a missing right or kind."""

    first: float = 0.5
    longest: float = 30.0
    missing: float = 10.0


class Informer:
    """One list and one watch. `follow` does the work; all other methods answer at once."""

    def __init__(
        self,
        cluster: Cluster,
        topic: Topic,
        project: Projection,
        pauses: Pauses | None = None,
        indexes: Sequence[ChangeIndex] = (),
    ) -> None:
        self.topic = topic
        self.trouble: Trouble | None = None
        self._cluster = cluster
        self._project = project
        self._pauses = pauses or Pauses()
        self._items: dict[Place, JSON] = {}
        self._deleted: set[str] = set()
        self._doubted: set[Place] = set()
        self._indexes = indexes
        self._writing: Counter[Place] = Counter()
        self._held: dict[Place, list[JSON]] = {}
        self._subscribers: list[Subscriber] = []
        self._listeners: list[StateListener] = []
        self._known = asyncio.Event()
        self._synced = asyncio.Event()
        self._version = ""
        self._failures = 0

    # ------------------------------------------------------------------------------------------- what is known

    @property
    def is_missing(self) -> bool:
        """Return whether the API server does not serve the kind."""
        return isinstance(self.trouble, NotFound)

    @property
    def is_current(self) -> bool:
        """Return whether the objects are listed and watched. False: they may be out of date."""
        return self._synced.is_set()

    async def known(self) -> None:
        """Return once the objects are listed, or once it is known why they cannot be."""
        await self._known.wait()

    async def synced(self) -> None:
        """Return once the objects are listed and watched; this may take forever."""
        await self._synced.wait()

    def get(self, namespace: str, name: str) -> JSON | None:
        """Return one object as it is known."""
        return self._items.get((namespace, name))

    def items(self) -> list[JSON]:
        """Return all objects as they are known."""
        return [*self._items.values()]

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call the subscriber at each change from now on, but not for the first list."""
        self._subscribers.append(subscriber)

    def subscribe_state(self, listener: StateListener) -> None:
        """Call the listener when an error begins, ends or changes."""
        self._listeners.append(listener)

    # ------------------------------------------------------------------------------------------------- doubts

    def doubt(self, thing: JSON) -> None:
        """Note that an object has changed: a write met a conflict, and the event may come later."""
        self._doubted.add(watching.place_of(thing))

    def is_doubted(self, place: Place) -> bool:
        """Return whether the API server must be asked for an object."""
        return place in self._doubted

    def learn(self, place: Place, found: JSON | None) -> None:
        """Note the API server's answer about an object; None: it does not exist."""
        self._doubted.discard(place)
        if found is not None:
            self.took(found)
        elif (known := self._items.get(place)) is not None:
            self.lost(known)

    # -------------------------------------------------------------------------------------------- own writes

    @contextmanager
    def writing(self, thing: JSON) -> Iterator[None]:
        """Hold back events of this object meanwhile: the event of a write may come before its answer."""
        place = watching.place_of(thing)
        self._writing[place] += 1
        try:
            yield
        finally:
            self._writing[place] -= 1
            if not self._writing[place]:
                del self._writing[place]
                for event in self._held.pop(place, []):
                    self._hear_of(event)

    def took(self, written: JSON) -> None:
        """Note the answer to a write of this process. An older event never replaces it."""
        self._apply(watching.take(self._items, self._shape(written)), is_own=True)

    def lost(self, deleted: JSON) -> None:
        """Note that this process deleted an object. An older event does not bring it back.

        An object with finalizers may still exist: then the API server must be asked.
        """
        if deleted["metadata"].get("finalizers"):
            self.doubt(deleted)
        elif (change := watching.lose(self._items, deleted)) is not None:
            self._deleted.add(deleted["metadata"]["uid"])
            self._apply(change, is_own=True)

    # ------------------------------------------------------------------------------------------- list and watch

    async def follow(self) -> None:
        """List and watch forever."""
        while True:
            try:
                await self._once()
                continue
            except Expired:
                self._version = ""
                continue
            except NotFound as error:
                self._replace([], "0")
                self._stop(error)
            except ReleaseError as error:
                self._stop(error)
            await asyncio.sleep(self._pause())

    async def _once(self) -> None:
        """Watch until the API server ends the stream; first list, if the history is not known."""
        if not self._version:
            version, listed = await self._cluster.list_at(self.topic.resource, self.topic.namespace, self._labels)
            self._replace([self._shape(thing) for thing in listed], version)
            self._version = version
            self._know(None)
        stream = self._cluster.events(self.topic.resource, self.topic.namespace, self._version, self._labels)
        async with aclosing(stream) as events:
            async for event in events:
                self._hear(event)

    @property
    def _labels(self) -> dict[str, str | None]:
        return dict(self.topic.labels)

    def _hear(self, event: JSON) -> None:
        thing = event["object"]
        if event["type"] == "OPENED":
            self._failures = 0
            self._know(None)
            return
        self._version = watching.version_of(thing) or self._version
        if event["type"] == "BOOKMARK":
            return
        place = watching.place_of(thing)
        if place in self._writing:
            self._held.setdefault(place, []).append(event)
        else:
            self._hear_of(event)

    def _hear_of(self, event: JSON) -> None:
        thing = event["object"]
        if event["type"] == "DELETED":
            self._deleted.discard(thing["metadata"]["uid"])
            self._apply(watching.lose(self._items, thing), is_own=False)
        elif thing["metadata"]["uid"] not in self._deleted:
            self._apply(watching.take(self._items, self._shape(thing)), is_own=False)

    def _replace(self, listed: list[JSON], version: str) -> None:
        """Replace all objects with a list."""
        there = {thing["metadata"]["uid"] for thing in listed}
        self._deleted &= there
        kept = [thing for thing in listed if thing["metadata"]["uid"] not in self._deleted]
        for change in watching.compare(self._items, kept, version):
            self._apply(change, is_own=False)

    def _apply(self, change: Change | None, *, is_own: bool) -> None:
        if change is None:
            return
        thing = change.new or change.old
        if thing is None:
            return
        if change.new is None:
            self._items.pop(watching.place_of(thing), None)
        else:
            self._items[watching.place_of(thing)] = change.new
        for index in self._indexes:
            index.note(change)
        if self._known.is_set():
            for subscriber in self._subscribers:
                subscriber(change, is_own)

    def _shape(self, thing: JSON) -> JSON:
        """Return what is kept of an object. Items of a list do not name their kind."""
        kept: JSON = share_words(self._project({**resources.type_meta(self.topic.resource), **thing}))
        return kept

    def _stop(self, trouble: Trouble) -> None:
        self._failures += 1
        if is_lasting(trouble):
            self._version = ""
            self._know(trouble)
        elif self._failures > 1:
            self._know(trouble)

    def _know(self, trouble: Trouble | None) -> None:
        before, self.trouble = self.trouble, trouble
        was_known = self._known.is_set()
        self._known.set()
        if trouble is None:
            self._synced.set()
        else:
            self._synced.clear()
        if was_known and type(before) is not type(trouble):
            for listener in self._listeners:
                listener(before, trouble)

    def _pause(self) -> float:
        """Return the seconds until the next try; they are spread, so that informers do not ask at once."""
        if self.trouble is not None and is_lasting(self.trouble):
            pause = self._pauses.missing
        else:
            pause = min(self._pauses.longest, self._pauses.first * 2.0 ** min(self._failures - 1, 10))
        asked_for = getattr(self.trouble, "retry_after", None) if not is_lasting(self.trouble) else None
        return max(pause, asked_for or 0.0) * random.uniform(0.8, 1.0)  # noqa: S311  no secret depends on it


def is_lasting(trouble: Trouble | None) -> bool:
    """Return whether only an administrator can end the error: by installing a kind or granting a right."""
    return isinstance(trouble, NotFound) or getattr(trouble, "reason", None) is Reason.FORBIDDEN


def share_words(found: Any) -> Any:
    """Return the same value with one copy of each key and short text, because thousands of objects repeat them."""
    if isinstance(found, dict):
        return {sys.intern(key): share_words(value) for key, value in found.items()}
    if isinstance(found, list):
        return [share_words(value) for value in found]
    return sys.intern(found) if isinstance(found, str) and len(found) <= SHORT else found
