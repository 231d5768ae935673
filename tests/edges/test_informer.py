"""Informers on a real API server: what is listed and watched, what keeps one from knowing, and how it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pluginrelease.api.reasons import Reason
from pluginrelease.cli import crd
from pluginrelease.core.apiserver import projections
from pluginrelease.core.apiserver.watching import Change
from pluginrelease.core.errors import ReleaseError
from pluginrelease.edges.kubernetes import client
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.informer import Informer, Pauses, Topic
from pluginrelease.edges.kubernetes.resources import RELEASES, SECRETS, Resource
from tests.edges import lone_apiserver
from tests.edges.lone_apiserver import Lone

SECONDS = 60.0
QUICK = Pauses(first=0.1, longest=1.0, missing=0.2)
NAMESPACE = "default"

JSON = dict[str, Any]


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lone]:
    with lone_apiserver.running(tmp_path_factory.mktemp("lone"), "::1") as one:
        yield one


@pytest.fixture
async def cluster(lone: Lone) -> AsyncIterator[Cluster]:
    async with await Cluster.connect(lone.kubeconfig()) as one:
        yield one


class InformerHeard:
    """An informer that follows, and what it said."""

    def __init__(self, informer: Informer) -> None:
        self.informer = informer
        self.changes: list[tuple[str | None, str | None, bool]] = []
        self._moved = asyncio.Event()
        informer.subscribe(self._hear)
        informer.subscribe_state(lambda *_: self._moved.set())

    def _hear(self, change: Change, is_own: bool) -> None:
        self.changes.append((name_of(change.old), name_of(change.new), is_own))
        self._moved.set()

    async def until(self, done: Callable[[], bool]) -> None:
        """Return as soon as it is so."""
        async with asyncio.timeout(SECONDS):
            while not done():
                self._moved.clear()
                await self._moved.wait()

    def names(self) -> set[str]:
        return {thing["metadata"]["name"] for thing in self.informer.items()}


def name_of(thing: JSON | None) -> str | None:
    return thing["metadata"]["name"] if thing else None


@asynccontextmanager
async def following(cluster: Cluster, resource: Resource = SECRETS, **labels: str) -> AsyncIterator[InformerHeard]:
    """An informer on the objects of these labels."""
    topic = Topic(resource, NAMESPACE, tuple(labels.items()))
    heard = InformerHeard(Informer(cluster, topic, projections.project_carrier, QUICK))
    task = asyncio.create_task(heard.informer.follow())
    try:
        yield heard
    finally:
        task.cancel()


def secret(name: str, test: str, **data: str) -> JSON:
    metadata = {"namespace": NAMESPACE, "name": name, "labels": {"test": test}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


async def test_what_is_there_and_what_changes(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything of these labels is listed, page by page, and every change of it comes."""
    monkeypatch.setattr(client, "PAGE", 3)
    for number in range(8):
        await cluster.create(secret(f"listed-{number}", "listed"))
    await cluster.create(secret("other", "other"))
    async with following(cluster, test="listed") as heard:
        await heard.informer.synced()
        assert heard.names() == {f"listed-{number}" for number in range(8)}
        assert heard.changes == [], "the first listing is no change"
        made = await cluster.create(secret("new", "listed"))
        await heard.until(lambda: "new" in heard.names())
        await cluster.delete({**made, "apiVersion": "v1", "kind": "Secret"})
        await heard.until(lambda: "new" not in heard.names())
        assert heard.changes == [(None, "new", False), ("new", None, False)]


async def test_what_was_written_is_known_at_once(cluster: Cluster) -> None:
    """The answer of a write counts before any event, and the event of it is no change any more."""
    async with following(cluster, test="own") as heard:
        await heard.informer.synced()
        wanted = secret("own", "own")
        with heard.informer.writing(wanted):
            made = await cluster.create(wanted)
            await cluster.create(secret("after", "own"))
            await heard.until(lambda: "after" in heard.names())
            assert heard.names() == {"after"}, "the event of the write is there, and its answer is not"
            heard.informer.took(made)
        assert heard.names() == {"own", "after"}
        with heard.informer.writing(wanted):
            await cluster.delete({**made, "apiVersion": "v1", "kind": "Secret"})
            heard.informer.lost(made)
        assert heard.names() == {"after"}
        await cluster.create(secret("last", "own"))
        await heard.until(lambda: "last" in heard.names())
        told = [change for change in heard.changes if "own" in change]
        assert told == [(None, "own", True), ("own", None, True)]


async def test_an_object_of_a_megabyte(cluster: Cluster) -> None:
    """An event whose line is larger than aiohttp takes is heard like any other."""
    async with following(cluster, test="large") as heard:
        await heard.informer.synced()
        await cluster.create(secret("large", "large", key="x" * 700_000))
        await heard.until(lambda: heard.names() == {"large"})


async def test_a_history_that_is_gone(cluster: Cluster) -> None:
    """Where the API server has no history since then (410), what is there is listed again, and nothing is missed."""
    async with following(cluster, test="gone") as heard:
        await heard.informer.synced()
        heard.informer._version = "1"  # as after hours without a connection
        task = asyncio.create_task(heard.informer.follow())
        await cluster.create(secret("late", "gone"))
        await heard.until(lambda: heard.names() == {"late"})
        task.cancel()
        assert heard.informer.trouble is None


async def test_an_api_server_that_starts_again(lone: Lone, cluster: Cluster) -> None:
    """A stream that breaks off is begun again where it was; what changed meanwhile comes, and nothing comes twice."""
    async with following(cluster, test="restart") as heard:
        await heard.informer.synced()
        await cluster.create(secret("before", "restart"))
        await heard.until(lambda: heard.names() == {"before"})
        await asyncio.to_thread(lone.kill)
        await heard.until(lambda: heard.informer.trouble is not None)
        assert isinstance(heard.informer.trouble, ReleaseError)
        assert heard.informer.trouble.reason is Reason.API_SERVER_UNAVAILABLE
        assert heard.names() == {"before"}, "what was known stays"
        await asyncio.to_thread(lone.start_again)
        await cluster.create(secret("restarted", "restart"))
        await heard.until(lambda: heard.names() == {"before", "restarted"})
        await heard.until(lambda: heard.informer.trouble is None)
        assert heard.changes == [(None, "before", False), (None, "restarted", False)]


async def test_a_right_that_comes_and_goes(lone: Lone, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right it is said so; with it the objects are known, and when it is taken that is seen as well."""
    monkeypatch.setattr(client, "WATCH_SECONDS", 2)  # a right is asked for when a watch begins
    await cluster.create(secret("seen", "right"))
    kubeconfig = lone.kubeconfig(await token_of(cluster, "nobody"))
    async with await Cluster.connect(kubeconfig) as theirs, following(theirs, test="right") as heard:
        await heard.informer.known()
        assert getattr(heard.informer.trouble, "reason", None) is Reason.FORBIDDEN
        await send(cluster, "POST", ROLES, role("nobody"))
        await send(cluster, "POST", BINDINGS, binding("nobody"))
        await heard.until(lambda: heard.informer.trouble is None)
        assert heard.names() == {"seen"}
        await send(cluster, "DELETE", f"{BINDINGS}/nobody")
        await heard.until(lambda: heard.informer.trouble is not None)
        assert getattr(heard.informer.trouble, "reason", None) is Reason.FORBIDDEN


async def test_a_kind_that_comes_later(lone: Lone, cluster: Cluster) -> None:
    """A kind that is not installed is known to be missing, and known as soon as it is there."""
    async with following(cluster, RELEASES) as heard:
        await heard.informer.known()
        assert heard.informer.is_missing
        await asyncio.to_thread(lone.apply, crd.text())
        await heard.until(lambda: heard.informer.trouble is None)


GROUP = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}"
ROLES, BINDINGS = f"{GROUP}/roles", f"{GROUP}/rolebindings"


async def send(cluster: Cluster, method: str, path: str, body: JSON | None = None) -> JSON:
    return await cluster._json(method, path, body=body)


async def token_of(cluster: Cluster, name: str) -> str:
    """A ServiceAccount's."""
    accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    await send(cluster, "POST", accounts, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await send(cluster, "POST", f"{accounts}/{name}/token", request)
    token: str = answer["status"]["token"]
    return token


def role(name: str) -> JSON:
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]}]
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules}


def binding(name: str) -> JSON:
    subject = {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}
    given = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    about = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name}}
    return {**about, "roleRef": given, "subjects": [subject]}
