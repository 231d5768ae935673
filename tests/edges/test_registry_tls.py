"""Whose certificates are trusted, and what gateways will meet at the same registry."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import certifi
import pytest

from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.image_manifests import Reference
from pluginrelease.core.errors import Refused
from pluginrelease.core.registry.transport import Transport
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from tests.edges.real_registry import Real, secret
from tests.edges.registry_access import OPEN, WASM, failure, quick
from tests.edges.scripted import Request, Scripted, ScriptedAnswer, good

SELF_SIGNED = Path(__file__).parents[1] / "fixtures" / "tls" / "self-signed.pem"  # for 127.0.0.1; worth nothing


def test_an_untrusted_certificate(scripted: Callable[..., Scripted]) -> None:
    """A certificate that nobody trusts is refused, not retried, and nothing is sent over it."""
    server = scripted(good, tls=SELF_SIGNED)
    error = failure(server.reference(), Access(dockerconfigjson=secret(server.host), deadline_seconds=20))
    assert (type(error), error.reason) == (Refused, "RegistryTLS")
    assert "self-signed" in error.message or "self signed" in error.message
    assert not server.seen


def test_a_trusted_certificate(scripted: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch) -> None:
    """An authority that is named in the environment, as containers do, is trusted; the deadline holds over TLS, too."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(SELF_SIGNED))

    def script(asked: Request) -> ScriptedAnswer:
        said = good(asked)
        said.pace = 0.2 if "slow" in asked.path else 0.0
        return said

    server = scripted(script, tls=SELF_SIGNED)
    assert registry.pull(server.reference(), Access(deadline_seconds=20)).wasm == WASM
    began = time.monotonic()
    assert failure(server.reference("slow:1"), Access(deadline_seconds=1)).reason == "RegistryUnavailable"
    assert time.monotonic() - began < 4


def test_an_authority_of_a_release(scripted: Callable[..., Scripted]) -> None:
    """A certificate that the release names is trusted, for this release alone, and besides the usual authorities."""
    server = scripted(good, tls=SELF_SIGNED)
    ca = Access(deadline_seconds=20, authorities=SELF_SIGNED.read_bytes())
    assert registry.pull(server.reference(), ca).wasm == WASM
    assert failure(server.reference(), Access(deadline_seconds=20)).reason == "RegistryTLS"
    assert ca.fingerprint != Access(deadline_seconds=20).fingerprint


def test_the_usual_authorities_stay(scripted: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch) -> None:
    """A release's authority is an addition: what was trusted before still is."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(SELF_SIGNED))
    server = scripted(good, tls=SELF_SIGNED)
    other = Path(certifi.where()).read_bytes()
    assert registry.pull(server.reference(), Access(deadline_seconds=20, authorities=other)).wasm == WASM


@pytest.mark.parametrize(
    "content", [b"", b"hush", b"-----BEGIN CERTIFICATE-----\nhush\n-----END CERTIFICATE-----\n", b"\xff"]
)
def test_an_authority_that_is_none(content: bytes) -> None:
    """A Secret or a file without certificates is refused, each by its own name, and what it has is not told."""
    place, good_one = image_manifests.parse("127.0.0.1:1/team/plugin:1"), SELF_SIGNED.read_bytes()
    for access, reason in (
        (Access(authorities=content, registry_ca=good_one), "InvalidCASecret"),
        (Access(registry_ca=content, authorities=good_one), "InvalidRegistryCA"),
    ):
        error = failure(place, access)
        assert error.reason == reason
        assert "hush" not in error.sentence()


def by_another_name(host: str) -> Reference:
    """127.0.0.1, as no agent takes for local."""
    return image_manifests.parse(host.replace("127.0.0.1", "[::ffff:7f00:1]") + "/team/plugin:1")


def test_a_registry_that_answers_tls_in_http(plain: Real) -> None:
    """What a real registry says to a client that begins with TLS: the agent goes on by http."""
    assert registry.find_transport(by_another_name(plain.host), OPEN) is Transport.PLAIN


def test_a_registry_that_is_dumb_to_tls() -> None:
    """A server that hangs up on TLS, says something else to it, or is not at https's port: the agent stops there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = by_another_name(f"127.0.0.1:{server.getsockname()[1]}")

        def answer(said: bytes) -> None:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(5)[:1] == b"\x16", "a TLS handshake"
                connection.sendall(said)

        for said in (b"", b"HTT", b"<html>Bad request"):
            thread = threading.Thread(target=answer, args=(said,))
            thread.start()
            assert registry.find_transport(place, OPEN) is Transport.MUTE
            thread.join()
        hung = time.monotonic()
        assert registry.find_transport(place, quick(1.0)) is Transport.MUTE, "one that says nothing"
        assert time.monotonic() - hung < 5
    assert registry.find_transport(image_manifests.parse("[::ffff:7f00:1]/team/plugin:1"), OPEN) is Transport.MUTE


def test_a_registry_behind_a_proxy(plain: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the operator's proxy says, tells nothing of what gateways meet."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert registry.find_transport(by_another_name(plain.host), OPEN) is Transport.HIDDEN
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert registry.find_transport(image_manifests.parse("registry.example.com/a:1"), Access()) is Transport.HIDDEN
    monkeypatch.setenv("no_proxy", "example.com")
    assert registry.find_transport(image_manifests.parse("registry.example.com/a:1"), Access()) is Transport.TRUSTED


def test_an_authority_that_only_the_operator_knows(
    scripted: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the release, the operator's setting or its environment brought the authority: nobody else has it."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    server = scripted(good, tls=SELF_SIGNED)
    own = SELF_SIGNED.read_bytes()
    for access in (Access(deadline_seconds=5, authorities=own), Access(deadline_seconds=5, registry_ca=own)):
        assert registry.find_transport(server.reference(), access) is Transport.UNTRUSTED
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(name, str(SELF_SIGNED))
            assert registry.pull(server.reference(), Access(deadline_seconds=5)).wasm == WASM
            assert registry.find_transport(server.reference(), Access(deadline_seconds=5)) is Transport.UNTRUSTED


def test_whoever_trusts_what_everybody_does_asks_nothing(
    scripted: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most operators need not try the registry once more."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    server = scripted(good, tls=SELF_SIGNED)
    assert registry.find_transport(server.reference(), Access(deadline_seconds=5)) is Transport.TRUSTED
    assert not server.seen
