"""Tokens: asked for with the credentials that a release has, for one scope, and only as often as needed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease_lab.registries import KEY
from tests.edges.real_registry import PASSWORD, USER, as_tester, secret
from tests.edges.registry_access import OPEN, WASM, failure
from tests.edges.scripted import Request, Scripted, ScriptedAnswer, good


@dataclass
class TokenServer:
    """A registry with a token service of its own, which gives each token to one scope and one use count."""

    uses: int = 1000
    issued: list[Request] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=dict)
    host: str = ""

    def __call__(self, asked: Request) -> ScriptedAnswer:
        if asked.path.startswith("/token"):
            return self.issue(asked)
        token = asked.headers.get("Authorization", "").removeprefix("Bearer ")
        action = "pull" if asked.method in ("GET", "HEAD") else "pull,push"
        self.served[token] = self.served.get(token, 0) + 1
        if token.split("-")[0] != action or self.served[token] > self.uses:
            scope = f"repository:team/plugin:{action}"
            header = f'Bearer realm="http://{self.host}/token",service="tests",scope="{scope}"'
            return ScriptedAnswer(401, b"", {"WWW-Authenticate": header})
        if asked.method == "HEAD":
            return ScriptedAnswer(404)
        if asked.method == "POST":
            return ScriptedAnswer(202, b"", {"Location": "/v2/team/plugin/blobs/uploads/1"})
        return ScriptedAnswer(201) if asked.method == "PUT" else good(asked)

    def issue(self, asked: Request) -> ScriptedAnswer:
        self.issued.append(asked)
        action = "pull,push" if "push" in asked.path + asked.body.decode() else "pull"
        return ScriptedAnswer(200, json.dumps({"token": f"{action}-{len(self.issued)}"}).encode())


def with_tokens(scripted: Callable[..., Scripted], tokens: TokenServer) -> Scripted:
    server = scripted(tokens)
    tokens.host = server.host
    return server


def on_loopback(access: Access) -> Access:
    """The token service of these tests has a loopback address."""
    return Access(True, access.dockerconfigjson, access.deadline_seconds, access.max_bytes, True)


@pytest.mark.parametrize("password", [PASSWORD, KEY.replace("none", "x" * 4000)], ids=["a word", "a key of lines"])
def test_tokens_by_credentials(scripted: Callable[..., Scripted], password: str) -> None:
    """A bearer challenge is answered with a token that was asked for with the credentials, once for all reads."""
    tokens = TokenServer()
    server = with_tokens(scripted, tokens)
    assert registry.pull(server.reference(), on_loopback(as_tester(server.host, password))).wasm == WASM
    assert len(tokens.issued) == 1
    assert "scope=repository%3Ateam%2Fplugin%3Apull" in tokens.issued[0].path
    assert "service=tests" in tokens.issued[0].path
    basic = base64.b64encode(f"{USER}:{password}".encode()).decode()
    assert tokens.issued[0].headers["Authorization"] == f"Basic {basic}"


def test_anonymous_tokens(scripted: Callable[..., Scripted]) -> None:
    """Without credentials a token is asked for without them, as public registries want."""
    tokens = TokenServer()
    server = with_tokens(scripted, tokens)
    assert registry.pull(server.reference(), on_loopback(OPEN)).wasm == WASM
    assert "Authorization" not in tokens.issued[0].headers


def test_tokens_by_identity_token(scripted: Callable[..., Scripted]) -> None:
    """An identity token is exchanged by POST, not sent as a password."""
    tokens = TokenServer()
    server = with_tokens(scripted, tokens)
    access = Access(dockerconfigjson=secret(server.host, identitytoken="opaque"))
    assert registry.pull(server.reference(), on_loopback(access)).wasm == WASM
    assert tokens.issued[0].method == "POST"
    assert b"refresh_token=opaque" in tokens.issued[0].body
    assert "Authorization" not in tokens.issued[0].headers


def test_an_expired_token_is_replaced(scripted: Callable[..., Scripted]) -> None:
    """A token that is no longer accepted is replaced by a new one, within the call."""
    tokens = TokenServer(uses=1)
    server = with_tokens(scripted, tokens)
    assert registry.pull(server.reference(), on_loopback(OPEN)).wasm == WASM
    assert len(tokens.issued) == 2


def test_a_token_for_reading_is_not_used_for_writing(scripted: Callable[..., Scripted], file: Path) -> None:
    """Pushing asks for a token with the right to push, besides the one for reading."""
    tokens = TokenServer()
    server = with_tokens(scripted, tokens)
    registry.push(server.reference(), file, on_loopback(as_tester(server.host)))
    assert len(tokens.issued) == 2


def test_a_token_service_that_says_no(scripted: Callable[..., Scripted]) -> None:
    """A refusing token service is a refusal of the credentials; nothing is repeated."""

    def script(asked: Request) -> ScriptedAnswer:
        if asked.path.startswith("/token"):
            return ScriptedAnswer(403)
        return ScriptedAnswer(401, b"", {"WWW-Authenticate": f'Bearer realm="http://{server.host}/token"'})

    server = scripted(script)
    error = failure(server.reference(), on_loopback(as_tester(server.host)))
    assert error.reason == "AuthenticationFailed"
    assert len(server.seen) == 2
