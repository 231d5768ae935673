"""What is known of the cluster: one informer per kind, and per set of pods, shared by all who need it.

Cost grows with changes, and not with the number of releases: indexes find objects by uid, by pods and by raised logger.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from pluginrelease import api
from pluginrelease.controller.pod_watches import PodWatches
from pluginrelease.core.apiserver import projections, stored
from pluginrelease.core.apiserver.indexes import ChangeIndex, Index
from pluginrelease.core.apiserver.projections import JSON, Projection
from pluginrelease.core.apiserver.scope import Scope
from pluginrelease.core.apiserver.watching import Change, Place
from pluginrelease.core.gateway import raised_loggers
from pluginrelease.core.mesh import providers, target
from pluginrelease.core.mesh.selectors import SelectorIndex
from pluginrelease.core.rollout import bare_plugins, conflict
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.informer import Informer, Topic
from pluginrelease.edges.kubernetes.resources import NAMESPACES, RELEASES, Resource


class ReleasesByPods:
    """Releases by the gateway pods that they select. One that cannot be read selects none."""

    def __init__(self, mesh: target.MeshSettings) -> None:
        self._mesh = mesh
        self._selectors = SelectorIndex()
        self._places: dict[str, Place] = {}

    def note(self, change: Change) -> None:
        """Note a release that was created, was deleted, or has a new spec."""
        old, new = (thing["metadata"] if thing else None for thing in (change.old, change.new))
        if old is not None and (new is None or new["uid"] != old["uid"]):
            self._selectors.drop(old["uid"])
            self._places.pop(old["uid"], None)
        if change.new is None or new is None:
            return
        self._places[new["uid"]] = new["namespace"], new["name"]
        if old is None or (old["uid"], old.get("generation")) != (new["uid"], new.get("generation")):
            self._selectors.put(new["uid"], self._read_pods(change.new))

    def knows(self, uid: str) -> bool:
        """Return whether a release of this uid is there."""
        return uid in self._places

    def _read_pods(self, found: JSON) -> list[target.Pods]:
        try:
            spec = api.Spec.model_validate(found["spec"])
        except (KeyError, ValueError):
            return []
        mesh = providers.mesh_of(spec)
        return [mesh.pods(gateway, self._mesh) for gateway in spec.gateways]

    def find(self, where: target.Pods) -> list[Place]:
        """Return the releases that may select some of these pods."""
        return [self._places[uid] for uid in self._selectors.find(where)]


def owner_of(carrier: JSON) -> tuple[str | None, str | None]:
    """Return the uid of the release that owns an object. If none does: None, and the image's repository."""
    owner: str | None = (carrier["metadata"].get("labels") or {}).get(api.UID_LABEL)
    return (owner, None) if owner else (None, bare_plugins.read_repository(carrier))


def marks_of(release: JSON) -> list[str]:
    """Return the marks of the pods whose loggers a release raised."""
    return list(dict.fromkeys(raised.mark for raised in raised_loggers.read_noted(release)))


class Store:
    """All informers for ``scope``. If gateways' namespaces are listed, Namespaces are read by name instead."""

    def __init__(self, cluster: Cluster, mesh: target.MeshSettings, scope: Scope | None = None) -> None:
        self._cluster = cluster
        self.scope = scope or Scope()
        self._by_pods, self._by_mark = ReleasesByPods(mesh), Index(marks_of)
        self._by_repository = Index(lambda release: [conflict.read_repository(release)])
        places: Sequence[str | None] = self.scope.watched or (None,)
        indexes = (self._by_pods, self._by_mark, self._by_repository)
        self.releases = [self._informer(RELEASES, projections.project_release, place, indexes) for place in places]
        kinds = [resources.resource_for(kind) for kind in providers.TARGETS]
        self._by_owner = {kind: Index(lambda thing: [owner_of(thing)]) for kind in kinds}
        self.carriers = {
            kind: [
                self._informer(kind, projections.project_carrier, place, (index,))
                for place in self.scope.places(kind.plural)
            ]
            for kind, index in self._by_owner.items()
        }
        self.namespaces = None if self.scope.gateways else self._informer(NAMESPACES, projections.project_namespace)
        self.pods = PodWatches(cluster)
        # uid of a release that was created, or got a new wish, while this process watched → when that was heard
        self._newcomers: set[str] = set()
        self._wished: dict[str, float] = {}
        self._began = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        for informer in self.releases:
            informer.subscribe(self._note_wish)

    def _informer(
        self,
        resource: Resource,
        project: Projection,
        namespace: str | None = None,
        indexes: Sequence[ChangeIndex] = (),
    ) -> Informer:
        return Informer(self._cluster, Topic(resource, namespace), project, indexes=indexes)

    def start(self) -> None:
        """Begin to watch."""
        self._tasks = [asyncio.create_task(informer.follow()) for informer in self._standing()]

    def stop(self) -> None:
        """Stop all watches."""
        for task in self._tasks:
            task.cancel()
        self.pods.stop()

    def has_ended(self) -> bool:
        """Return whether an informer has ended, which is an error. Any thread may call it."""
        return any(task.done() for task in [*self._tasks, *self.pods.tasks()])

    async def synced(self) -> None:
        """Return once all releases are known, and the other objects are listed or their list has failed."""
        for informer in self._standing():
            await informer.known()
        for informer in self.releases:
            await informer.synced()

    def _standing(self) -> Iterator[Informer]:
        yield from (*self.releases, *self.every_carrier())
        if self.namespaces is not None:
            yield self.namespaces

    def release(self, namespace: str, name: str) -> JSON | None:
        """Return one release as it is known."""
        found = (informer.get(namespace, name) for informer in self.releases)
        return next((release for release in found if release is not None), None)

    @property
    def knows_all_releases(self) -> bool:
        """Return whether all releases that the operator may see are watched, and up to date."""
        is_whole = self.scope.is_narrow or not self.scope.watched
        return is_whole and all(informer.is_current for informer in self.releases)

    def find_on_pods(self, where: target.Pods) -> list[JSON]:
        """Return the releases that may select some of these pods."""
        found = (self.release(*place) for place in self._by_pods.find(where))
        return [release for release in found if release is not None]

    def find_noting(self, marks: Collection[str]) -> list[JSON]:
        """Return the releases that raised the logger of a pod with one of these marks."""
        found = [release for mark in marks for release in self._by_mark.find(mark)]
        return [*{release["metadata"]["uid"]: release for release in found}.values()]

    def find_users(self, repository: str | None) -> list[JSON]:
        """Return the releases whose plugin comes from a repository."""
        return self._by_repository.find(repository)

    def is_newcomer(self, uid: str) -> bool:
        """Return whether a release was created while this process watched: no earlier process wrote for it."""
        return uid in self._newcomers

    def wished_at(self, uid: str) -> float | None:
        """Return when a release's spec or command was heard of, by the monotonic clock; None if not yet."""
        return self._wished.get(uid, self._began if self._by_pods.knows(uid) else None)

    def _note_wish(self, change: Change, _is_own: bool) -> None:
        before, now = (thing["metadata"]["uid"] if thing else None for thing in (change.old, change.new))
        if before is not None and before != now:
            self._newcomers.discard(before)
            self._wished.pop(before, None)
        if now is not None and before != now:
            self._newcomers.add(now)
        if change.new is not None and stored.is_new_wish(change.old, change.new):
            self._wished[change.new["metadata"]["uid"]] = time.monotonic()

    def find_release(self, place: Place) -> JSON | None:
        """Return one release; None if there is none, or the API server must be asked."""
        for informer in self.releases:
            if informer.is_current and not informer.is_doubted(place) and (found := informer.get(*place)) is not None:
                return found
        return None

    def may_not_have_heard(self, place: Place) -> bool:
        """Return whether an unknown release can only be a new one: all releases are watched, and none is in doubt."""
        return all(
            informer.is_current and not informer.is_doubted(place)
            for informer in self._informers_in(RELEASES, place[0])
        )

    def known_releases(self) -> list[JSON]:
        """Return the releases that are known; there may be others."""
        return [release for informer in self.releases for release in informer.items()]

    def namespace(self, name: str) -> JSON | None:
        """Return a Namespace; None if there is none, or it may be out of date."""
        known = self.namespaces
        return known.get("", name) if known is not None and known.trouble is None else None

    # ------------------------------------------------------------------------------------------- the carriers

    def knows(self, kind: Resource, place: Place) -> bool:
        """Return whether the store knows if this carrier exists, so that the API server need not be asked."""
        informers = self._informers_in(kind, place[0]) if kind in self.carriers else []
        return any(informer.is_current and not informer.is_doubted(place) for informer in informers)

    def carrier(self, kind: Resource, place: Place) -> JSON | None:
        """Return the carrier of this name, as it is known."""
        found = (informer.get(*place) for informer in self._informers_in(kind, place[0]))
        return next((thing for thing in found if thing is not None), None)

    def find_owned(self, kind: Resource, uid: str) -> list[JSON] | None:
        """Return the objects with a release's uid; None if they may be out of date."""
        return self._find_by_owner(kind, (uid, None))

    def find_bare(self, kind: Resource, repository: str) -> list[JSON] | None:
        """Return the objects with an image of this repository and no release's uid; None if they may be out of date."""
        return self._find_by_owner(kind, (None, repository))

    def _find_by_owner(self, kind: Resource, key: tuple[str | None, str | None]) -> list[JSON] | None:
        are_known = all(informer.is_current or informer.is_missing for informer in self.carriers[kind])
        return self._by_owner[kind].find(key) if are_known else None

    def learn(self, kind: Resource, place: Place, found: JSON | None) -> None:
        """Note the API server's answer about an object."""
        for informer in self._informers_in(kind, place[0]):
            informer.learn(place, found)

    def doubt(self, thing: JSON) -> None:
        """Note that an object has changed: a write to it met a conflict."""
        for informer in self._informers_of(thing):
            informer.doubt(thing)

    # ---------------------------------------------------------------------------------------------- own writes

    @contextmanager
    def writing(self, thing: JSON) -> Iterator[None]:
        """Hold back events of this object until the write has its answer."""
        with ExitStack() as stack:
            for informer in self._informers_of(thing):
                stack.enter_context(informer.writing(thing))
            yield

    def took(self, written: JSON) -> None:
        """Note the answer to a write of this process."""
        for informer in self._informers_of(written):
            informer.took(written)

    def lost(self, deleted: JSON) -> None:
        """Note that this process deleted an object."""
        for informer in self._informers_of(deleted):
            informer.lost(deleted)

    def every_carrier(self) -> Iterator[Informer]:
        """Yield the informers of all kinds that carry plugins."""
        for informers in self.carriers.values():
            yield from informers

    def _informers_in(self, kind: Resource, namespace: str) -> list[Informer]:
        among = self.releases if kind == RELEASES else self.carriers.get(kind, [])
        return [informer for informer in among if informer.topic.namespace in (None, namespace)]

    def _informers_of(self, thing: JSON) -> list[Informer]:
        resource = resources.BY_KIND[thing["apiVersion"], thing["kind"]]
        return self._informers_in(resource, thing["metadata"]["namespace"])
