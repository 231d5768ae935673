"""Whom requests speak for and what is noted of the answers, over HTTP: the server says what the test wants."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration
from yarl import URL

from pluginrelease.core.apiserver.health import ContactFacts, Watch
from pluginrelease.edges.kubernetes.contact import Contact
from pluginrelease.edges.kubernetes.login import Login, origin, strip_scheme

WATCHED = "/apis/example.com/v1/things"
NEEDED = Watch(WATCHED, is_kopfs=True, may_miss=False)


class LoginServer:
    """Answers with ``status`` unless the token is ``good``; a watch stays open until ``over``."""

    def __init__(self) -> None:
        self.status = 200
        self.good: str | None = None
        self.tokens: list[str | None] = []
        self.over = asyncio.Event()
        self.elsewhere = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(request.headers.get("Authorization"))
        if self.elsewhere:
            raise web.HTTPTemporaryRedirect(self.elsewhere)
        if self.good and self.tokens[-1] != f"Bearer {self.good}":
            return web.Response(status=401)
        if "watch" not in request.query or self.status != 200:
            return web.Response(status=self.status)
        stream = web.StreamResponse()
        await stream.prepare(request)
        await self.over.wait()
        return stream


async def served(server: LoginServer, host: str = "127.0.0.1") -> AsyncIterator[str]:
    application = web.Application()
    application.add_routes([web.get("/{path:.*}", server.answer)])
    async with TestServer(application, host=host) as running:
        yield str(running.make_url("")).rstrip("/")


@pytest.fixture
async def server() -> LoginServer:
    return LoginServer()


@pytest.fixture
async def url(server: LoginServer) -> AsyncIterator[str]:
    async for address in served(server):
        yield address


@pytest.fixture
def kubeconfig(url: str, tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    write(path, url, "first")
    return path


def write(path: Path, url: str, token: str) -> None:
    """A kubeconfig of one user with a token."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "clusters": [{"name": "one", "cluster": {"server": url}}],
        "users": [{"name": "one", "user": {"token": token}}],
    }
    path.write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    ("written", "token"),
    [
        ("Bearer abc.def", "abc.def"),
        ("bearer abc.def", "abc.def"),
        ("bearer abc.def\n", "abc.def"),
        ("abc.def", "abc.def"),
        ("", None),
        (None, None),
    ],
)
def test_a_token_is_taken_without_its_scheme(written: str | None, token: str | None) -> None:
    """The scheme is a word before the token, in whichever case the client writes it."""
    assert strip_scheme(written) == token


async def test_the_scheme_is_sent_once(server: LoginServer, url: str, kubeconfig: Path) -> None:
    """The API server gets ``Bearer`` and the token."""
    async with (await Login.read(kubeconfig)).session(None) as session, session.get(f"{url}{WATCHED}"):
        assert server.tokens == ["Bearer first"]


async def test_an_ipv6_address_in_another_spelling(server: LoginServer, tmp_path: Path) -> None:
    """The token goes out however the kubeconfig writes the address, which is sent in its short form."""
    async for url in served(server, "::1"):
        write(tmp_path / "kubeconfig", url.replace("[::1]", "[0:0:0:0:0:0:0:1]"), "first")
        login = await Login.read(tmp_path / "kubeconfig")
        async with login.session(None) as session, session.get(f"{login.server}{WATCHED}"):
            assert server.tokens == ["Bearer first"]


async def test_a_token_that_is_refused_is_read_again(server: LoginServer, url: str, kubeconfig: Path) -> None:
    """After a 401 the files are read again. The request goes out once more if they have another token, else not."""
    login = await Login.read(kubeconfig)
    server.good = "second"
    async with login.session(None) as session:
        async with session.get(f"{url}{WATCHED}") as answer:
            assert answer.status == 401
        assert server.tokens == ["Bearer first"]
        write(kubeconfig, url, "second")
        async with session.get(f"{url}{WATCHED}") as answer:
            assert answer.status == 200
    assert server.tokens == ["Bearer first", "Bearer first", "Bearer second"]


async def test_another_server_gets_no_token(server: LoginServer, kubeconfig: Path, url: str) -> None:
    """A redirect to another server does not carry the credentials there."""
    other = LoginServer()
    async for there in served(other):
        server.elsewhere = f"{there}/"
        async with (await Login.read(kubeconfig)).session(None) as session, session.get(f"{url}{WATCHED}"):
            assert (server.tokens, other.tokens) == (["Bearer first"], [None])


@pytest.mark.parametrize(("excluded", "is_sent"), [("", True), ("10.96.0.0/12,.svc", False)])
async def test_a_proxy_of_the_environment(
    server: LoginServer, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, excluded: str, is_sent: bool
) -> None:
    """The way to an API server leads through HTTP_PROXY, except where a range in NO_PROXY has its address."""
    monkeypatch.setenv("HTTP_PROXY", url)
    monkeypatch.setenv("NO_PROXY", excluded)
    write(tmp_path / "kubeconfig", "http://10.96.0.1:9", "first")
    login = await Login.read(tmp_path / "kubeconfig")
    async with login.session(None, timeout=aiohttp.ClientTimeout(total=0.5)) as session:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(f"{login.server}{WATCHED}"):
                pass
    assert bool(server.tokens) is is_sent


async def test_no_proxy_within_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod reaches its own API server directly, whatever proxy it has for registries."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    found = Configuration()
    found.host = "https://10.96.0.1:443"
    assert Login(None, None, found).proxy == "http://proxy.example.com:3128"
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert Login(None, None, found).proxy is None
    assert Login(Path("kubeconfig"), None, found).proxy == "http://proxy.example.com:3128"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://[::1]:6443", "https://[0:0:0:0:0:0:0:1]:6443/api", True),
        ("https://[fd00:0:0::1]:443", "https://[FD00::1]/api", True),
        ("https://API.example.com", "https://api.example.com:443/api", True),
        ("https://kübe.example", "https://xn--kbe-hoa.example/api", True),
        ("https://[::1]:6443", "https://[::1]:6444/", False),
        ("https://[::1]", "https://[::2]/", False),
        ("https://[::1]", "http://[::1]:443/", False),
    ],
)
def test_one_server_in_two_spellings(one: str, other: str, same: bool) -> None:
    """Whether a request goes to the API server does not depend on how a kubeconfig writes the address."""
    assert (origin(URL(one)) == origin(URL(other))) is same


class Clock:
    """Stands still until the test moves it."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


async def noted(url: str, contact: Contact, path: str = WATCHED) -> ContactFacts:
    """What is known after one request that is over."""
    async with aiohttp.ClientSession(middlewares=[contact.note]) as session:
        try:
            async with session.get(f"{url}{path}"):
                pass
        except aiohttp.ClientError:
            pass
    return contact.facts()


@pytest.mark.parametrize(
    ("status", "refusal", "answers", "is_missing"),
    [
        (200, None, True, False),
        (401, "401 Unauthorized", False, False),
        (403, None, True, False),
        (404, None, True, True),
        (429, None, True, False),
        (500, None, False, False),
        (503, None, False, False),
    ],
)
async def test_an_answer_is_noted(
    server: LoginServer, url: str, status: int, refusal: str | None, answers: bool, is_missing: bool
) -> None:
    """A 401 says that the API server does not know us, another 4xx that it does, a 5xx that it is ill."""
    server.status = status
    found = await noted(url, Contact([NEEDED], Clock()))
    assert found.refusal == refusal
    assert (found.answering_since is not None) is answers
    assert found.watches[0].is_missing is is_missing


async def test_a_server_that_is_gone_does_not_answer(url: str) -> None:
    """A connection that cannot be made ends the time in which the API server answered."""
    contact = Contact([NEEDED], Clock())
    assert (await noted(url, contact)).answering_since == Clock.now
    first, second = await noted("http://127.0.0.1:9", contact), await noted("http://127.0.0.1:9", contact)
    assert (first.answering_since, first.failing_since) == (None, None)
    assert (second.answering_since, second.failing_since) == (None, Clock.now)
    assert (await noted(url, contact)).failing_since is None


async def test_a_kubelet_that_is_gone_is_not_the_api_server(server: LoginServer, url: str) -> None:
    """A gateway's node that does not answer, which the API server reports, says nothing of the API server."""
    contact = Contact([NEEDED], Clock())
    await noted(url, contact)
    server.status = 502
    for path in ("/api/v1/namespaces/one/pods/a/log", "/api/v1/namespaces/one/pods/a/portforward"):
        assert (await noted(url, contact, path)).answering_since == Clock.now


async def test_a_watch_is_open_as_long_as_its_stream(server: LoginServer, url: str) -> None:
    """A listing is no watch; a watch counts while its stream is open, and then from when it was last seen open."""
    clock = Clock()
    contact = Contact([NEEDED], clock)
    assert (await noted(url, contact)).watches[0].last_open is None
    async with (
        aiohttp.ClientSession(middlewares=[contact.note]) as session,
        session.get(f"{url}{WATCHED}?watch=true") as stream,
    ):
        clock.now = 200.0
        assert contact.facts().watches[0].last_open == 200.0
        server.over.set()
        await stream.read()
        clock.now = 300.0
        assert contact.facts().watches[0].last_open == 200.0


async def test_a_peer_that_is_gone_is_noticed(server: LoginServer, url: str, kubeconfig: Path) -> None:
    """Every connection asks a silent peer whether it is there, from 10 s on and three times, so that a watch over a way
    that is cut ends after 25 s."""
    login = await Login.read(kubeconfig)
    async with login.session(None) as session, session.get(f"{url}{WATCHED}?watch=true") as answer:
        assert answer.connection is not None
        assert answer.connection.transport is not None
        made = answer.connection.transport.get_extra_info("socket")
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        asked = [getattr(socket, name) for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")]
        assert [made.getsockopt(socket.IPPROTO_TCP, option) for option in asked] == [10, 5, 3]
        server.over.set()


async def test_logins_are_counted_until_one_is_taken(server: LoginServer, url: str) -> None:
    """Refusals in a row are counted by logins, and an answer to us ends the row."""
    contact = Contact([NEEDED], Clock())
    assert contact.count_login() == 0
    server.status = 401
    for number in (1, 2, 3):
        await noted(url, contact)
        assert contact.count_login() == number
    server.status = 403
    await noted(url, contact)
    assert contact.count_login() == 0
