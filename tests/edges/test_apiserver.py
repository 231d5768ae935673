"""Answers of the API server, and of what stands before it: every situation on a real one, proxies by a script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from pluginrelease.core.apiserver import answers
from pluginrelease.core.apiserver.answers import Asked, NotFound
from pluginrelease.core.errors import ReleaseError, Transient
from pluginrelease.core.mesh import istio
from pluginrelease.edges.kubernetes import client as clusters
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.resources import PODS
from pluginrelease_lab import Lab
from tests.edges import real_apiserver
from tests.edges.real_apiserver import SITUATIONS, Situation
from tests.edges.scripted import Request, Script, Scripted, ScriptedAnswer, serving

T = TypeVar("T")
Proxied = Callable[[Script], tuple[Path, Scripted]]

PLUGINS = resources.resource_for(istio.TARGET)
PLUGIN = real_apiserver.plugin("team", uid="uid-1")
PAGE = ScriptedAnswer(200, b"<html><title>Log in</title></html>", {"Content-Type": "text/html"})
JSON_TYPE = {"Content-Type": "application/json"}


# --------------------------------------------------------------------------------------------------- a real one


@pytest.fixture(scope="module")
def people(lab: Lab) -> Iterator[dict[str, Path]]:
    with real_apiserver.staged(lab) as found:
        real_apiserver.settled(lab)
        yield found


@pytest.mark.parametrize("one", SITUATIONS, ids=lambda one: one.name)
def test_a_situation(one: Situation, people: dict[str, Path]) -> None:
    """What a real API server answers has its own reason, and says whose turn it is."""

    async def ask(cluster: Cluster) -> None:
        query = real_apiserver.query_of(one)
        asked = Asked(one.method, one.path)
        await cluster._answer(asked, query=query, body=one.body, content_type=one.content_type)

    error = raised(people[one.who], ask)
    if isinstance(error, NotFound):
        assert (one.reason, one.kind) == ("NotFound", "" if error.served else "unserved")
    else:
        assert (error.reason, type(error).__name__) == (one.reason, one.kind), error
        assert one.words in error.sentence()


@pytest.mark.parametrize(
    ("namespace", "kind", "reason"),
    [("answers-nowhere", "WasmPlugin", "NamespaceNotFound"), (real_apiserver.HERE, "WasmPlugin", "KindNotInstalled")],
)
def test_what_an_apply_lacks(people: dict[str, Path], namespace: str, kind: str, reason: str) -> None:
    """A namespace that is not there and a kind that is not are told apart."""
    manifest = real_apiserver.plugin(namespace)
    if reason == "KindNotInstalled":
        manifest["apiVersion"] = "extensions.higress.io/v1alpha1"
    error = raised(people["admin"], lambda cluster: cluster.apply(manifest, uid=None))
    assert isinstance(error, ReleaseError)
    assert error.reason == reason


# ------------------------------------------------------------------------------------------------- what stands before


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxied]:
    """A server that answers by a script, and a kubeconfig for it."""
    with serving() as start:

        def made(script: Script) -> tuple[Path, Scripted]:
            server = start(script)
            file = tmp_path / "kubeconfig"
            user = {"name": "one", "user": {"token": "planted-token"}}
            context = {"name": "one", "context": {"cluster": "one", "user": "one"}}
            known = {"clusters": [{"name": "one", "cluster": {"server": f"http://{server.host}"}}]}
            file.write_text(yaml.safe_dump({**known, "users": [user], "contexts": [context], "current-context": "one"}))
            return file, server

        yield made


def raised(kubeconfig: Path, act: Callable[[Cluster], Awaitable[Any]]) -> ReleaseError | NotFound:
    with pytest.raises((ReleaseError, NotFound)) as found:
        result(kubeconfig, act)
    assert isinstance(found.value, ReleaseError | NotFound)
    assert "planted" not in str(found.value)
    return found.value


def result(kubeconfig: Path, act: Callable[[Cluster], Awaitable[T]]) -> T:
    async def connected() -> T:
        async with await Cluster.connect(kubeconfig) as cluster:
            return await act(cluster)

    return asyncio.run(connected())


async def get(cluster: Cluster) -> Any:
    return await cluster.get(PLUGINS, "team", "one")


async def delete(cluster: Cluster) -> None:
    await cluster.delete(PLUGIN)


async def read_log(cluster: Cluster) -> str:
    return await cluster.read_log("team", "pod", "istio-proxy", since=datetime.now(UTC), limit_bytes=1000)


async def apply(cluster: Cluster) -> Any:
    return await cluster.apply(PLUGIN, uid="uid-1")


async def watch(cluster: Cluster) -> list[Any]:
    return [event async for event in cluster.watch(PODS, "team", {})]


ACTS = (get, delete, read_log, apply, watch)


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (PAGE, "NotTheAPIServer"),
        (ScriptedAnswer(404, PAGE.body, PAGE.headers), "NotTheAPIServer"),
        (ScriptedAnswer(503, PAGE.body, PAGE.headers), "NotTheAPIServer"),
        (ScriptedAnswer(302, b"", {"Location": "/login"}), "NotTheAPIServer"),
        (ScriptedAnswer(403, b"x" * (clusters.FAILURE_LIMIT + 1), JSON_TYPE), "AnswerTooLarge"),
        (ScriptedAnswer(503, b'{"kind":"Status","mess', JSON_TYPE, length=100), "APIServerUnavailable"),
    ],
    ids=["page", "page-404", "page-503", "redirect", "endless", "cut"],
)
def test_a_proxys_answer(
    proxy: Proxied,
    act: Callable[[Cluster], Awaitable[Any]],
    answer: ScriptedAnswer,
    reason: str,
) -> None:
    """A proxy's page is never taken for an object, for a log, or for the word that an object is gone.

    It is tried again. An object that is thought to be gone would be left on the gateways when its release is deleted.
    """
    kubeconfig, _ = proxy(lambda _: answer)
    error = raised(kubeconfig, act)
    assert isinstance(error, Transient)
    assert error.reason == reason


def test_no_redirect_is_followed(proxy: Proxied) -> None:
    """No API server sends its clients elsewhere; whoever does gets neither the credentials nor the object."""
    kubeconfig, server = proxy(lambda asked: ScriptedAnswer(307, b"", {"Location": "/elsewhere"}))
    raised(kubeconfig, apply)
    assert server.asked("elsewhere") == 0


@pytest.mark.parametrize("body", [b'{"kind":"WasmPlugin","spec":{"url', b""], ids=["cut", "empty"])
def test_half_an_object(proxy: Proxied, body: bytes) -> None:
    """What breaks off without a word, as a proxy that closes early lets it, is tried again."""
    kubeconfig, _ = proxy(lambda _: ScriptedAnswer(200, body, JSON_TYPE))
    assert reason_of(raised(kubeconfig, get)) == "AnswerUnreadable"


def test_half_an_event(proxy: Proxied) -> None:
    """A watch that breaks off in the middle of an event is no fault of the operator's."""

    def script(asked: Request) -> ScriptedAnswer:
        if "watch=true" in asked.path:
            return ScriptedAnswer(200, b'{"type":"ADDED","object":{"met', JSON_TYPE)
        return ScriptedAnswer(
            200, json.dumps({"kind": "PodList", "metadata": {"resourceVersion": "1"}}).encode(), JSON_TYPE
        )

    kubeconfig, _ = proxy(script)
    assert reason_of(raised(kubeconfig, watch)) == "AnswerUnreadable"


def test_a_pause_that_is_asked_for(proxy: Proxied) -> None:
    """Retry-After reaches whoever tries again."""
    kubeconfig, _ = proxy(lambda _: ScriptedAnswer(429, b'{"kind":"Status"}', {**JSON_TYPE, "Retry-After": "17"}))
    error = raised(kubeconfig, get)
    assert isinstance(error, Transient)
    assert (error.reason, error.retry_after) == ("TooManyRequests", 17)


def reason_of(error: ReleaseError | NotFound) -> str:
    return error.reason if isinstance(error, ReleaseError) else "NotFound"


@pytest.mark.parametrize("code", [401, 403, 404, 429, 500])
def test_why_a_port_forward_was_not_opened(code: int) -> None:
    """Of a port-forward only the code is known, and each says something else."""
    others = {answers.explain_refused_stream(other) for other in (401, 403, 404, 429, 500) if other != code}
    assert answers.explain_refused_stream(code) not in others
