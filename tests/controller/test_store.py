"""What passes read of the store, and when they ask the API server all the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import cleanup, interruption
from pluginrelease.controller.pod_watches import WATCHED_ALONE, PodWatches, topic_of
from pluginrelease.controller.reading import StoreReader
from pluginrelease.controller.store import Store
from pluginrelease.controller.writer import Writer
from pluginrelease.core.errors import Transient
from pluginrelease.core.mesh.target import MeshSettings, Pods
from pluginrelease.core.rollout import plan
from pluginrelease.edges.kubernetes import limiter, resources
from pluginrelease.edges.kubernetes.informer import share_words
from pluginrelease.edges.kubernetes.resources import Resource
from tests.controller.scripted_api import ScriptedAPI, context
from tests.harness.releases import JSON, UID, manifest

KIND = next(resource for resource in resources.BY_KIND.values() if resource.group == "extensions.istio.io")
PLACE = "istio-ingress", "auth"
CONFLICT = Transient(Reason.CONFLICT, "the object changed meanwhile")


class WatchedAPI(ScriptedAPI):
    """One that can be listed for a watch, which says nothing more. ``listing``: lists are answered when it is set."""

    def __init__(self, *objects: JSON, **faults: Any) -> None:
        super().__init__(*objects, **faults)
        self.listing = asyncio.Event()
        self.listing.set()
        self.watched: list[str] = []

    async def list_at(self, resource: Resource, namespace: str | None, labels: Any) -> tuple[str, list[JSON]]:
        await self.listing.wait()
        self.watched.append(f"{resource.plural} {labels}")
        exact = {key: value for key, value in labels.items() if value is not None}
        listed = list(await super().list(resource, namespace, exact))
        self.requests.pop()
        return "1", listed

    async def events(self, *_: Any) -> AsyncIterator[JSON]:
        yield {"type": "OPENED", "object": {"metadata": {}}}
        await asyncio.Event().wait()


def carrier(version: str = "1", **spec: Any) -> JSON:
    metadata = {"namespace": PLACE[0], "name": PLACE[1], "uid": "c", "resourceVersion": version}
    labels = {api.UID_LABEL: UID}
    return {**resources.type_meta(KIND), "metadata": {**metadata, "labels": labels}, "spec": spec}


def pod(name: str, **labels: str) -> JSON:
    metadata = {"namespace": "apps", "name": name, "uid": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": []}}


@contextmanager
def started(cluster: WatchedAPI) -> Iterator[Store]:
    store = Store(cast(Any, cluster), MeshSettings())
    store.start()
    try:
        yield store
    finally:
        store.stop()


async def test_a_synced_store_is_asked_and_not_the_api_server() -> None:
    """The object of an entry, what a release owns, and who is near cost no request."""
    cluster = WatchedAPI(carrier(), manifest())
    with started(cluster) as store:
        await store.synced()
        reader = StoreReader(cast(Any, cluster), store)
        found = await reader.get(KIND, *PLACE)
        assert found is not None
        assert found["metadata"]["uid"] == "c"
        assert await reader.get(KIND, PLACE[0], "another") is None
        assert [thing["metadata"]["name"] for thing in await reader.owned(KIND, UID)] == [PLACE[1]]
        near = Pods("istio-ingress", {"istio": "ingressgateway"}, "istio-proxy")
        assert [release["metadata"]["uid"] for release in await reader.releases_on(near)] == [UID]
        assert await reader.releases_on(Pods("elsewhere", {}, "istio-proxy")) == []
        assert await reader.releases_noting(["0123456"]) == []
        assert cluster.requests == []


async def test_what_is_not_listed_yet_is_asked_for() -> None:
    """Before the first listing nobody waits for the store."""
    cluster = WatchedAPI(carrier(), manifest())
    cluster.listing.clear()
    with started(cluster) as store:
        reader = StoreReader(cast(Any, cluster), store)
        assert await reader.get(KIND, *PLACE) is not None
        assert len(await reader.owned(KIND, UID)) == 1
        assert len(await reader.releases_noting(["0123456"])) == 1
        assert cluster.requests == ["GET wasmplugins", "LIST wasmplugins", "LIST pluginreleases"]


async def test_a_deletion_asks_for_nothing_that_is_known() -> None:
    """The object, whatever else carries the uid, and the release cost no request; only Secrets are not watched."""
    body, known = manifest(), carrier()
    cluster = WatchedAPI(known, body)
    with started(cluster) as store:
        await store.synced()
        shared = replace(context(cluster), store=store, writer=Writer(cast(Any, cluster), store))
        await cleanup.clean_up(shared, body)
    assert sorted(set(cluster.requests)) == ["DELETE wasmplugins", "GET secrets"]
    assert cluster.requests.count("DELETE wasmplugins") == 1


async def test_an_own_write_is_read_at_once() -> None:
    """Whoever reads after a write reads what the API server answered, and after a deletion nothing."""
    cluster = WatchedAPI(carrier())
    with started(cluster) as store:
        await store.synced()
        reader, writer = StoreReader(cast(Any, cluster), store), Writer(cast(Any, cluster), store)
        made = carrier("2", priority=7)
        await writer.apply(UID, plan.Write(made, "c", "it differs", version="1"))
        found = await reader.get(KIND, *PLACE)
        assert found is not None
        assert found["spec"] == {"priority": 7}
        await writer.delete(UID, found)
        assert await reader.get(KIND, *PLACE) is None
        assert [request for request in cluster.requests if request.startswith(("GET", "LIST"))] == []


async def test_after_a_conflict_the_api_server_is_asked() -> None:
    """What met a conflict is read anew, before the event that tells of the change; after that the store knows again."""
    cluster = WatchedAPI(carrier())
    with started(cluster) as store:
        await store.synced()
        reader, writer = StoreReader(cast(Any, cluster), store), Writer(cast(Any, cluster), store)
        cluster.objects = ScriptedAPI(carrier("5", priority=5)).objects
        cluster.faults["APPLY wasmplugins"] = CONFLICT
        with pytest.raises(Transient):
            await writer.apply(UID, plan.Write(carrier(), "c", "it differs", version="1"))
        cluster.requests.clear()
        for _ in range(2):
            found = await reader.get(KIND, *PLACE)
            assert found is not None
            assert found["metadata"]["resourceVersion"] == "5"
        assert cluster.requests == ["GET wasmplugins"]


async def test_a_deletion_that_finalizers_hold_up_is_asked_for() -> None:
    """An object that somebody else's finalizer keeps is not taken for one that is gone."""
    kept = carrier()
    kept["metadata"]["finalizers"] = ["example.com/keep"]
    cluster = WatchedAPI(kept)
    with started(cluster) as store:
        await store.synced()
        store.lost(kept)
        assert await StoreReader(cast(Any, cluster), store).get(KIND, *PLACE) is not None
        assert cluster.requests == ["GET wasmplugins"]


# ------------------------------------------------------------------------------------------------------- the pods


def somewhere(**labels: str) -> Pods:
    return Pods("apps", labels, "istio-proxy")


async def test_hundreds_of_selectors_are_a_few_watches() -> None:
    """The selectors of one namespace and one label key share a watch, and each finds its own pods."""
    cluster = WatchedAPI(*(pod(f"pod-{number}", gateway=f"g{number}") for number in range(100)))
    watches = PodWatches(cast(Any, cluster))
    for number in range(100):
        watches.need(f"release-{number}", [topic_of(somewhere(gateway=f"g{number}"))], lambda _: None)
    found = [await watches.find(somewhere(gateway=f"g{number}")) for number in range(100)]
    assert [[one["metadata"]["name"] for one in pods or []] for pods in found] == [[f"pod-{n}"] for n in range(100)]
    assert len(cluster.watched) == WATCHED_ALONE + 1
    assert cluster.requests == []
    tasks = watches.tasks()
    for number in range(100):
        watches.need(f"release-{number}", [], lambda _: None)
    await asyncio.wait(tasks)
    assert watches.tasks() == []


async def test_a_pod_wakes_whom_it_concerns() -> None:
    """Of those who share a watch only the releases wake that select the pod now, or did before."""
    cluster, rung = WatchedAPI(), list[str]()
    watches = PodWatches(cast(Any, cluster))
    for number in range(WATCHED_ALONE + 3):
        watches.need(f"release-{number}", [topic_of(somewhere(gateway=f"g{number}"))], rung.append)
    wide = f"g{WATCHED_ALONE}", f"g{WATCHED_ALONE + 1}"
    assert await watches.find(somewhere(gateway=wide[0])) == []
    informer = watches.informer_of(somewhere(gateway=wide[0]))
    informer.took({**pod("one", gateway=wide[0]), "metadata": {**pod("one", gateway=wide[0])["metadata"], **newer(2)}})
    assert rung == [f"release-{WATCHED_ALONE}"]
    informer.took({**pod("one", gateway=wide[1]), "metadata": {**pod("one", gateway=wide[1])["metadata"], **newer(3)}})
    assert {*rung[1:]} == {f"release-{WATCHED_ALONE}", f"release-{WATCHED_ALONE + 1}"}
    watches.stop()


def newer(version: int) -> JSON:
    return {"resourceVersion": str(version)}


async def test_pods_among_those_of_a_wider_watch() -> None:
    """Of two selectors the pods that both have are found in the watch of either."""
    cluster = WatchedAPI(pod("both", istio="a", tier="b"), pod("one", istio="a"))
    watches = PodWatches(cast(Any, cluster))
    watches.need(UID, [topic_of(somewhere(istio="a"))], lambda _: None)
    found = await watches.find(somewhere(istio="a", tier="b"))
    assert [one["metadata"]["name"] for one in found or []] == ["both"]
    assert await watches.find(somewhere(tier="b")) is None
    watches.stop()


async def test_the_way_back_does_not_wait_for_a_listing() -> None:
    """Where the pods are not listed yet, the way back asks the API server at once."""
    cluster = WatchedAPI(pod("one", istio="a"))
    cluster.listing.clear()
    with started(cluster) as store:
        store.pods.need(UID, [topic_of(somewhere(istio="a"))], lambda _: None)
        with limiter.way_back():
            found = await StoreReader(cast(Any, cluster), store).pods(somewhere(istio="a"))
        assert len(found) == 1
        assert cluster.requests == ["LIST pods"]


async def test_only_a_release_that_was_made_meanwhile_is_new() -> None:
    """What was there at the first listing may have revisions by another process; what came later has none."""
    cluster = WatchedAPI(manifest())
    with started(cluster) as store:
        await store.synced()
        store.took(manifest(metadata__uid="new", metadata__name="new", metadata__resourceVersion="2"))
        assert [store.is_newcomer(uid) for uid in (UID, "new")] == [False, True]
        store.lost(manifest(metadata__uid="new", metadata__name="new"))
        assert not store.is_newcomer("new")


def test_words_are_kept_once() -> None:
    """Of thousands of objects each key and each short text is kept once, and nothing is changed."""
    one, other = (share_words(json.loads(json.dumps(manifest(spec__plugin__config={"a": [1]})))) for _ in range(2))
    assert one == manifest(spec__plugin__config={"a": [1]})
    assert [id(key) for key in one["metadata"]] == [id(key) for key in other["metadata"]]
    assert one["spec"]["provider"] is other["spec"]["provider"]


# reason, what the store knows, what kopf has heard, which version the pass reads, what is asked
READS: list[tuple[str, str | None, str | None, str, list[str]]] = [
    ("both know the same", "5", "5", "5", []),
    ("kopf has heard of a change before the store did", "5", "7", "7", []),
    ("an own write is newer than what kopf has heard", "7", "5", "7", []),
    ("a new release, of which the store has not heard", None, "5", "5", []),
    ("nobody has heard of it", None, None, "9", ["GET pluginreleases"]),
]


@pytest.mark.parametrize(("reason", "known", "heard", "read", "asked"), READS, ids=[row[0] for row in READS])
async def test_which_release_a_pass_reads(
    reason: str, known: str | None, heard: str | None, read: str, asked: list[str]
) -> None:
    """The newest that anybody has heard of, without a request; the event that comes later wakes nobody."""
    there = manifest(metadata__resourceVersion="9")
    cluster = WatchedAPI(*([manifest(metadata__resourceVersion=known)] if known else []))
    with started(cluster) as store:
        await store.synced()
        cluster.objects = WatchedAPI(there).objects
        found = await interruption.find_release(
            replace(context(cluster), store=store),
            ("istio-ingress", "auth"),
            manifest(metadata__resourceVersion=heard) if heard else None,
        )
        assert found is not None
        assert found["metadata"]["resourceVersion"] == read, reason
        assert cluster.requests == asked
        again = store.release("istio-ingress", "auth")
        assert again is not None
        assert again["metadata"]["resourceVersion"] == read
