"""A registry that is down, busy or elsewhere: what is asked again, and where credentials go."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable

import pytest

from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import Refused, Transient
from pluginrelease.edges.oci import registry
from tests.edges.real_registry import REALM, as_tester
from tests.edges.registry_access import OPEN, WASM, failure, quick
from tests.edges.scripted import Request, Scripted, ScriptedAnswer, good


def test_the_scripted_registry_is_a_good_one(scripted: Callable[..., Scripted]) -> None:
    """Without a fault in it the scripted server passes for a registry: the tests below fail by their faults alone."""
    assert registry.pull(scripted(good).reference(), OPEN).wasm == WASM


def test_a_layer_that_is_announced_too_large(scripted: Callable[..., Scripted]) -> None:
    """A layer whose announced size is beyond the cap is not even asked for."""
    server = scripted(good)
    assert failure(server.reference(), quick(10, max_bytes=10)).reason == "ArtifactTooLarge"
    assert not [path for path in server.paths() if "/blobs/" in path]


def test_nobody_listens() -> None:
    """A registry that is down is tried again later."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = failure(image_manifests.parse(f"127.0.0.1:{port}/team/plugin:1"))
    assert (type(error), error.reason) == (Transient, "RegistryUnavailable")
    assert "refused" in error.message


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_registry_is_asked_again(scripted: Callable[..., Scripted], status: int) -> None:
    """One bad answer of the passing kind does not fail a fetch."""

    def script(asked: Request) -> ScriptedAnswer:
        return ScriptedAnswer(status) if len(server.seen) == 1 else good(asked)

    server = scripted(script)
    assert registry.pull(server.reference(), OPEN).wasm == WASM


def test_a_throttling_registry_is_believed(scripted: Callable[..., Scripted]) -> None:
    """Who is told to come back in an hour does not wait within the call, and passes the hour on."""
    server = scripted(lambda _: ScriptedAnswer(429, b"", {"Retry-After": "3600"}))
    began = time.monotonic()
    error = failure(server.reference())
    assert time.monotonic() - began < 2
    assert isinstance(error, Transient)
    assert error.retry_after == 3600
    assert len(server.seen) == 1


def test_a_bad_request_is_not_repeated(scripted: Callable[..., Scripted]) -> None:
    """What will not heal is asked once, and the registry's own words are passed on."""
    said = json.dumps({"errors": [{"code": "UNSUPPORTED", "message": "no such\nthing"}]}).encode()
    server = scripted(lambda _: ScriptedAnswer(400, said))
    error = failure(server.reference())
    assert (type(error), error.reason) == (Refused, "RegistryRefused")
    assert "400: UNSUPPORTED: no such" in error.message
    assert len(server.seen) == 1


def test_redirect_within_the_registry(scripted: Callable[..., Scripted]) -> None:
    """A redirect on the registry's own host is followed, credentials and all."""

    def script(asked: Request) -> ScriptedAnswer:
        if "Authorization" not in asked.headers:
            return ScriptedAnswer(401, b"", {"WWW-Authenticate": f'Basic realm="{REALM}"'})
        if "/blobs/" in asked.path and "moved" not in asked.path:
            return ScriptedAnswer(307, b"", {"Location": "/moved" + asked.path})
        return good(asked)

    server = scripted(script)
    assert registry.pull(server.reference(), as_tester(server.host)).wasm == WASM


def test_redirect_to_another_host_shows_no_credentials(scripted: Callable[..., Scripted]) -> None:
    """A blob store that a registry redirects to never sees the registry's credentials."""
    store = scripted(good)

    def script(asked: Request) -> ScriptedAnswer:
        if "Authorization" not in asked.headers:
            return ScriptedAnswer(401, b"", {"WWW-Authenticate": f'Basic realm="{REALM}"'})
        if "/blobs/" in asked.path:
            return ScriptedAnswer(307, b"", {"Location": f"http://{store.host}{asked.path}"})
        return good(asked)

    server = scripted(script)
    assert registry.pull(server.reference(), as_tester(server.host)).wasm == WASM
    assert store.seen
    assert all("Authorization" not in request.headers for request in store.seen)
