"""The store and the clean-up of an operator that has rights in some namespaces only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller.cleanup import Departure
from pluginrelease.controller.handlers import needed_watches
from pluginrelease.controller.store import Store
from pluginrelease.core.apiserver.scope import Scope
from pluginrelease.core.errors import Transient
from pluginrelease.core.mesh.target import MeshSettings
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.resources import RELEASES, Resource
from tests.controller.test_store import KIND, WatchedAPI, carrier
from tests.harness.releases import JSON, UID, manifest

EDGE, OPS, ELSEWHERE = "istio-ingress", "ops", "elsewhere"
NARROW = Scope(("team-a",), (EDGE, OPS))
FORBIDDEN = Transient(Reason.FORBIDDEN, "no Role")


class PartlyForbidden(WatchedAPI):
    """Refuses all but one namespace of gateways."""

    async def list_at(self, resource: Resource, namespace: str | None, labels: Any) -> tuple[str, list[JSON]]:
        if namespace == OPS:
            raise FORBIDDEN
        assert namespace is not None, f"{resource.plural} of the whole cluster were listed"
        return await super().list_at(resource, namespace, labels)

    async def events(self, *_: Any) -> AsyncIterator[JSON]:
        async for event in super().events():
            yield event


def places(store: Store) -> set[tuple[str, str | None]]:
    """What has an informer: plural and namespace."""
    known = [*store.releases, *store.every_carrier(), *([store.namespaces] if store.namespaces else [])]
    return {(informer.topic.resource.plural, informer.topic.namespace) for informer in known}


def test_nothing_is_watched_beyond_the_listed_namespaces() -> None:
    """Releases, and the objects of both meshes, in each listed namespace; Namespaces not at all."""
    narrow = Store(cast(Any, None), MeshSettings(), NARROW)
    assert places(narrow) == {("pluginreleases", "team-a"), ("wasmplugins", EDGE), ("wasmplugins", OPS)}
    whole = Store(cast(Any, None), MeshSettings())
    assert places(whole) == {("pluginreleases", None), ("wasmplugins", None), ("namespaces", None)}


def test_readiness_asks_for_the_same_watches() -> None:
    """What /readyz needs to be open is what is watched, and a gateways' namespace without its Role is excused."""
    needed = {watch.path: watch for watch in needed_watches(NARROW)}
    assert RELEASES.path("team-a") in needed
    assert resources.NAMESPACES.path() not in needed
    assert needed[KIND.path(OPS)].may_be_forbidden
    assert not needed[RELEASES.path("team-a")].may_be_forbidden


async def test_one_namespace_without_its_role_leaves_the_others_known() -> None:
    """An object is known where there is a Role; a list of all is asked for, as it may lack what is forbidden."""
    store = Store(cast(Any, PartlyForbidden(carrier())), MeshSettings(), NARROW)
    store.start()
    try:
        await store.synced()
        assert store.knows(KIND, (EDGE, "auth"))
        assert store.carrier(KIND, (EDGE, "auth")) is not None
        assert not store.knows(KIND, (OPS, "auth"))
        assert store.find_owned(KIND, UID) is None
        assert store.knows_all_releases
        assert not store.has_ended()
    finally:
        store.stop()


def test_a_release_goes_though_an_entry_was_never_in_reach() -> None:
    """Only an object that the status names is asked for where there is no right: another one was never written."""
    beyond = manifest(spec__gateways__0__namespace=ELSEWHERE)
    assert Departure.read(beyond, NARROW).objects == ()
    assert len(Departure.read(beyond, Scope()).objects) == 1
    written = {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "namespace": ELSEWHERE,
        "name": "auth",
    }
    row = {"name": "public", "state": "Loaded", "reason": "Loaded", "object": written}
    named = manifest(spec__gateways__0__namespace=ELSEWHERE, status={"gateways": [row]})
    assert [place[1:] for place in Departure.read(named, NARROW).objects] == [(ELSEWHERE, "auth")]
    assert api.Release.model_validate(named).status.gateways
