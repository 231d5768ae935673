"""Which change wakes which release. This process's own writes wake none, because the pass that wrote knows them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Self

from pluginrelease import api
from pluginrelease.controller.pod_watches import topic_of
from pluginrelease.controller.store import Store, owner_of
from pluginrelease.core.apiserver import stored
from pluginrelease.core.apiserver.watching import Change
from pluginrelease.core.mesh import providers, reach, target
from pluginrelease.edges.kubernetes.informer import Trouble
from pluginrelease.edges.kubernetes.resources import JSON

Ring = Callable[[str], None]


class Wakeups:
    """Wake a release when something that it depends on changes."""

    def __init__(self, store: Store, ring: Ring, forget: Ring) -> None:
        self._store = store
        self._ring = ring
        self._forget = forget

    def listen(self) -> None:
        """Subscribe to all changes from now on."""
        for informer in self._store.releases:
            informer.subscribe(self.release_changed)
        for informer in self._store.every_carrier():
            informer.subscribe(self.carrier_changed)
            informer.subscribe_state(self.kind_changed)
        if self._store.namespaces is not None:
            self._store.namespaces.subscribe(self.namespace_changed)

    def release_changed(self, change: Change, is_own: bool) -> None:
        """Wake a release if its spec, commands or deletion changed, not for its status. Forget one that is gone."""
        if change.old is not None and (change.new is None or is_another(change.old, change.new)):
            self._forget(change.old["metadata"]["uid"])
        if change.new is None or is_own:
            return
        if stored.is_new_wish(change.old, change.new):
            self._ring(change.new["metadata"]["uid"])

    def carrier_changed(self, change: Change, is_own: bool) -> None:
        """Wake the release whose object another client changed, created or deleted.

        For an object that no release owns, wake the releases that use the same repository.
        """
        if is_own:
            return
        owners = {owner_of(thing) for thing in (change.old, change.new) if thing is not None}
        repositories = {repository for _, repository in owners} - {None}
        for uid in {uid for uid, _ in owners if uid is not None} | self._find_users(repositories):
            self._ring(uid)

    def _find_users(self, repositories: Collection[str | None]) -> set[str]:
        """Return the uids of the releases that use one of these repositories."""
        found = (release for repository in repositories for release in self._store.find_users(repository))
        return {release["metadata"]["uid"] for release in found}

    def kind_changed(self, before: Trouble | None, now: Trouble | None) -> None:
        """Wake every release when a kind is installed: only a pass knows which releases wait for it."""
        if before is not None and now is None:
            for uid in [release["metadata"]["uid"] for release in self._store.known_releases()]:
                self._ring(uid)

    def namespace_changed(self, change: Change, _is_own: bool) -> None:
        """Wake the releases that reach into a namespace if it is created or deleted, or allows other releases."""
        if read_consent(change.old) == read_consent(change.new):
            return
        thing = change.new or change.old
        name = thing["metadata"]["name"] if thing is not None else ""
        for release in self._store.known_releases():
            if name in stored.read_gateway_namespaces(release):
                self._ring(release["metadata"]["uid"])


def is_another(one: JSON, other: JSON) -> bool:
    """Return whether an object was deleted and created again under the same name."""
    return bool(one["metadata"]["uid"] != other["metadata"]["uid"])


def read_consent(namespace: JSON | None) -> tuple[str | None, str, bool] | None:
    """Return what a namespace allows, with its uid and whether it is being deleted; None if there is none."""
    if namespace is None:
        return None
    own = namespace["metadata"]
    return (
        (own.get("annotations") or {}).get(api.ALLOWED_NAMESPACES_ANNOTATION),
        own["uid"],
        "deletionTimestamp" in own,
    )


class PodWatch:
    """Wake one release if a pod that it selects is created, deleted or changed. Use it as a context manager."""

    def __init__(self, store: Store, mesh: target.MeshSettings, uid: str, ring: Ring) -> None:
        self._store = store
        self._mesh = mesh
        self._uid = uid
        self._ring = ring
        self.name = ""
        """All its pods' topics, in one text."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._need(())

    def follow(self, release: api.Release) -> None:
        """Watch this release's pods from now on."""
        mesh = providers.mesh_of(release.spec)
        wanted = [mesh.pods(gateway, self._mesh) for gateway in release.spec.gateways]
        self._need([where for where in wanted if reach.is_within(where, self._store.scope)])

    def _need(self, wanted: Collection[target.Pods]) -> None:
        topics = [topic_of(where) for where in wanted]
        self.name = " ".join(sorted(f"{topic.namespace}/{topic.labels}" for topic in topics))
        self._store.pods.need(self._uid, topics, self._ring)
