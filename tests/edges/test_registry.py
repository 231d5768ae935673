"""The registry's edge against a real registry (CNCF distribution), and against servers that misbehave on purpose."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import certifi
import pytest
import requests
from click.testing import CliRunner

from pluginrelease.cli import push as push_command
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.image_manifests import Layout, Reference
from pluginrelease.core.errors import Refused, ReleaseError, Transient, Waiting
from pluginrelease.core.registry import challenge
from pluginrelease.core.registry.transport import Transport
from pluginrelease.edges.oci import distribution, registry
from pluginrelease.edges.oci.access import Access
from pluginrelease_lab.registries import KEY, KEY_USER
from tests import wasm_modules as made
from tests.edges.real_registry import PASSWORD, REALM, USER, Real, as_tester, secret
from tests.edges.scripted import Answer, Request, Scripted, good, serving

WASM = made.plugin("0_2_1")
SELF_SIGNED = Path(__file__).parents[1] / "fixtures" / "tls" / "self-signed.pem"  # for 127.0.0.1; worth nothing
OPEN = Access(insecure=True, deadline_seconds=20)


# --- a real registry ---


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "any-name.wasm"
    path.write_bytes(WASM)
    return path


def test_pushed_resolved_fetched(plain: Real, file: Path) -> None:
    """What was pushed comes back byte for byte, under one digest that the registry, too, says it has."""
    reference = plain.reference("team/plugin:1.0")
    pushed = registry.push(reference, file, OPEN)
    head = requests.head(
        f"http://{plain.host}/v2/team/plugin/manifests/1.0", headers={"Accept": image_manifests.OCI_MANIFEST}, timeout=5
    )
    assert head.headers["Docker-Content-Digest"] == str(pushed)
    assert registry.resolve(reference, OPEN) == registry.Resolved(pushed)
    fetched = registry.pull(reference, OPEN)
    assert fetched.wasm == WASM
    assert fetched.artifact.layout is Layout.OCI_COMPAT
    assert fetched.artifact.wasm_sha256 == hashlib.sha256(WASM).hexdigest()
    assert (fetched.artifact.size, fetched.artifact.module.abi) == (len(WASM), "0_2_1")
    assert registry.fetch(fetched.artifact.pinned, OPEN).digest == pushed


def test_pushed_again(plain: Real, file: Path) -> None:
    """The same module gives the same digest, wherever and whenever it is pushed."""
    first = registry.push(plain.reference("team/again:1"), file, OPEN)
    assert registry.push(plain.reference("team/again:2"), file, OPEN) == first
    assert registry.push(plain.reference(f"team/other@{first}"), file, OPEN) == first


def test_other_tools_layouts(plain: Real) -> None:
    """An image of a container build and a raw artifact are read as well, the module from the right layer."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        member = tarfile.TarInfo("app/plugin.wasm")
        member.size = len(WASM)
        tar.addfile(member, io.BytesIO(WASM))
    config = plain.blob("kinds", b"{}") | {"mediaType": "application/vnd.docker.container.image.v1+json"}
    layer = plain.blob("kinds", out.getvalue()) | {"mediaType": image_manifests.DOCKER_LAYER}
    plain.manifest("kinds", "docker", image_manifests.DOCKER_MANIFEST, {"config": config, "layers": [layer]})
    raw = plain.blob("kinds", WASM) | {"mediaType": image_manifests.WASM_LAYER}
    other = plain.blob("kinds", b'{"type":"envoy_proxy"}') | {"mediaType": "application/vnd.module.wasm.config.v1+json"}
    plain.manifest("kinds", "raw", image_manifests.OCI_MANIFEST, {"config": config, "layers": [other, raw]})
    for tag, layout in (("docker", Layout.DOCKER_COMPAT), ("raw", Layout.OCI_ARTIFACT)):
        fetched = registry.pull(plain.reference(f"kinds:{tag}"), OPEN)
        assert (fetched.wasm, fetched.artifact.layout) == (WASM, layout)


def test_unreadable_layout(plain: Real) -> None:
    """An image that a gateway cannot read is refused although it holds the module."""
    raw = plain.blob("kinds", WASM) | {"mediaType": image_manifests.WASM_LAYER}
    plain.manifest("kinds", "single", image_manifests.OCI_MANIFEST, {"config": raw, "layers": [raw]})
    assert failure(plain.reference("kinds:single")).reason == "UnreadableLayout"


def test_an_index_gives_its_child(plain: Real, file: Path) -> None:
    """A tag of a multi-platform image resolves to the digest that a gateway compares: its child's."""
    child = registry.push(plain.reference("multi:one"), file, OPEN)
    size = len(image_manifests.pack(WASM).manifest)
    entry = {"mediaType": image_manifests.OCI_MANIFEST, "digest": str(child), "size": size}
    amd64 = entry | {"platform": {"os": "linux", "architecture": "amd64"}}
    index = plain.manifest("multi", "1", image_manifests.OCI_INDEX, {"manifests": [amd64]})
    assert index != str(child)
    assert registry.resolve(plain.reference("multi:1"), OPEN) == registry.Resolved(
        child, image_manifests.Digest.parse(index)
    )
    assert registry.fetch(plain.reference(f"multi@{index}"), OPEN).digest == child


def test_an_index_of_indexes(plain: Real, file: Path) -> None:
    """Indexes may be nested three deep, as a gateway goes further than that; deeper ones are refused."""
    child = registry.push(plain.reference("deep:0"), file, OPEN)
    kind, size = image_manifests.OCI_MANIFEST, len(image_manifests.pack(WASM).manifest)
    entry = {"mediaType": kind, "digest": str(child), "size": size}
    for depth in range(1, 5):
        index = plain.manifest("deep", str(depth), image_manifests.OCI_INDEX, {"manifests": [entry]})
        size = len(plain.read("deep", str(depth))[1])
        entry = {"mediaType": image_manifests.OCI_INDEX, "digest": index, "size": size}
    assert registry.fetch(plain.reference("deep:3"), OPEN).digest == child
    assert failure(plain.reference("deep:4")).reason == "UnreadableLayout"


def test_a_tag_that_is_not_there(plain: Real) -> None:
    """A missing tag is waited for: it may be pushed in a minute."""
    error = failure(plain.reference("team/nothing:9"))
    assert isinstance(error, Waiting)
    assert (error.reason, error.retry_after) == ("ManifestNotFound", 60)
    assert "team/nothing:9" in error.message


def test_tags(plain: Real, file: Path) -> None:
    """Every tag of a repository, over as many pages as the registry makes of them; of none, that it is not there."""
    everything = {"1", *(f"1.{number}.0" for number in range(12))}
    for name in everything:
        registry.push(plain.reference(f"team/tagged:{name}"), file, OPEN)
    repository = image_manifests.parse_repository(f"{plain.host}/team/tagged")
    assert set(registry.list_tags(repository, OPEN).tags) == everything
    for most in (5, len(everything)):  # the latter: a full page, and no more after it
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(distribution, "TAGS_AT_ONCE", most)
            found = registry.list_tags(repository, OPEN)
            assert (set(found.tags), found.whole) == (everything, True)
    with pytest.raises(Waiting) as raised:
        registry.list_tags(image_manifests.parse_repository(f"{plain.host}/team/nothing"), OPEN)
    assert raised.value.reason == "ManifestNotFound"


def test_tags_of_a_private_registry(private: Real, file: Path) -> None:
    """The list is asked for with the release's own credentials."""
    registry.push(private.reference("team/tagged:1.0.0"), file, as_tester(private.host))
    assert registry.list_tags(
        image_manifests.parse_repository(f"{private.host}/team/tagged"), as_tester(private.host)
    ).tags == ("1.0.0",)
    with pytest.raises(Refused) as raised:
        registry.list_tags(image_manifests.parse_repository(f"{private.host}/team/tagged"), OPEN)
    assert raised.value.reason == "AuthenticationRequired"


def test_too_large(plain: Real, file: Path) -> None:
    """A layer beyond the cap is refused before it is downloaded, and a file before it is pushed."""
    registry.push(plain.reference("large:1"), file, OPEN)
    small = Access(insecure=True, max_bytes=20)
    assert failure(plain.reference("large:1"), small).reason == "ArtifactTooLarge"
    with pytest.raises(Refused, match="larger than 20 bytes"):
        registry.push(plain.reference("large:2"), file, small)


def test_what_a_layer_unpacks_to_is_capped(plain: Real, tmp_path: Path) -> None:
    """A small layer that unpacks to more than the cap is refused, too."""
    big = tmp_path / "big.wasm"
    big.write_bytes(made.HEADER + bytes(1 << 20))
    registry.push(plain.reference("large:bomb"), big, OPEN)
    error = failure(plain.reference("large:bomb"), Access(insecure=True, max_bytes=100_000))
    assert error.reason == "ArtifactTooLarge"


def test_not_a_module(plain: Real, tmp_path: Path) -> None:
    """A text file called plugin.wasm is refused by what it is."""
    text = tmp_path / "plugin.wasm"
    text.write_bytes(made.text_file())
    registry.push(plain.reference("text:1"), text, OPEN)
    error = failure(plain.reference("text:1"))
    assert error.reason == "NotWasm"
    assert "a text file" in error.message


def test_https_by_default(plain: Real) -> None:
    """Plain http is spoken only where the release says so, and the message names the field."""
    error = failure(plain.reference("team/plugin:1.0"), Access(deadline_seconds=20))
    assert isinstance(error, Refused)
    assert error.reason == "RegistryTLS"
    assert "insecure: true" in error.remedy


def test_private_without_a_secret(private: Real) -> None:
    """No credentials: refused with the field that names them."""
    error = failure(private.reference("team/plugin:1"))
    assert isinstance(error, Refused)
    assert error.reason == "AuthenticationRequired"
    assert "pullSecretRef" in error.remedy


def test_private_with_another_registrys_secret(private: Real) -> None:
    """A secret without an entry for this registry: the message says which it has."""
    error = failure(private.reference("team/plugin:1"), as_tester("other.example.com"))
    assert error.reason == "AuthenticationRequired"
    assert "other.example.com" in error.message


def test_private_with_wrong_credentials(private: Real) -> None:
    """Bad credentials are refused at once, without another try, and are not in the message."""
    began = time.monotonic()
    error = failure(private.reference("team/plugin:1"), as_tester(private.host, "hush hush"))
    assert time.monotonic() - began < 5
    assert (type(error), error.reason) == (Refused, "AuthenticationFailed")
    assert "hush" not in error.sentence()


def test_private(private: Real, file: Path) -> None:
    """With the right secret it is pushed and fetched."""
    access = as_tester(private.host)
    pushed = registry.push(private.reference("team/plugin:1"), file, access)
    assert registry.fetch(private.reference("team/plugin:1"), access).digest == pushed


@pytest.mark.parametrize("form", ["auth", "password"])
def test_private_with_a_password_of_several_lines(private: Real, file: Path, form: str) -> None:
    """Google's JSON key logs in as it is, with its line breaks and the last of them."""
    pair = {"username": KEY_USER, "password": KEY}
    entry = pair if form == "password" else {"auth": base64.b64encode(f"{KEY_USER}:{KEY}".encode()).decode()}
    content = json.dumps({"auths": {private.host: entry}}).encode()
    access = Access(insecure=True, deadline_seconds=20, dockerconfigjson=content)
    pushed = registry.push(private.reference("team/plugin:key"), file, access)
    assert registry.fetch(private.reference("team/plugin:key"), access).digest == pushed


def test_private_with_a_line_break_too_many(private: Real) -> None:
    """A password out of a file, with its last line break, is shown so; who reads the refusal learns of it."""
    error = failure(private.reference("team/plugin:1"), as_tester(private.host, PASSWORD + "\n"))
    assert error.reason == "AuthenticationFailed"
    assert "ends with a line break" in error.message
    assert "horse" not in error.sentence()


def test_invalid_secret(private: Real) -> None:
    """A secret that is not one is refused before anything is asked."""
    access = Access(insecure=True, dockerconfigjson=b"user: tester")
    assert failure(private.reference("team/plugin:1"), access).reason == "InvalidPullSecret"


def test_nothing_is_taken_from_the_home_folder(private: Real, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials come from the release's secret alone: not from ~/.docker, not from ~/.netrc."""
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_bytes(secret(private.host))
    netrc = tmp_path / ".netrc"
    netrc.write_text(f'machine 127.0.0.1 login {USER} password "{PASSWORD}"\n')
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / ".docker"))
    assert failure(private.reference("team/plugin:1")).reason == "AuthenticationRequired"


def test_challenge(plain: Real, private: Real) -> None:
    """What a registry asks of everyone is read without credentials, and the gateway's guard accepts this realm."""
    assert registry.read_challenge(plain.reference("any:1"), OPEN) == ()
    values = registry.read_challenge(private.reference("any:1"), as_tester(private.host))
    assert values == (f'Basic realm="{REALM}"',)
    challenge.check_gateways(private.host, values, {"1.31.0"})


def test_many_at_once(plain: Real, file: Path) -> None:
    """Calls share nothing: many threads at once each get the whole."""
    registry.push(plain.reference("threads:1"), file, OPEN)
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(registry.pull(plain.reference("threads:1"), OPEN).wasm))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [WASM] * 8


# --- servers that misbehave ---


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    """Starts servers that answer by a script; ends them all."""
    with serving() as start:
        yield start


def failure(reference: Reference, access: Access = OPEN) -> ReleaseError:
    with pytest.raises(ReleaseError) as error:
        registry.fetch(reference, access)
    assert error.value.remedy, "every error says what to do"
    return error.value


def quick(seconds: float = 1.0, **more: Any) -> Access:
    return Access(insecure=True, deadline_seconds=seconds, **more)


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

    def script(asked: Request) -> Answer:
        return Answer(status) if len(server.seen) == 1 else good(asked)

    server = scripted(script)
    assert registry.pull(server.reference(), OPEN).wasm == WASM


def test_a_throttling_registry_is_believed(scripted: Callable[..., Scripted]) -> None:
    """Who is told to come back in an hour does not wait within the call, and passes the hour on."""
    server = scripted(lambda _: Answer(429, b"", {"Retry-After": "3600"}))
    began = time.monotonic()
    error = failure(server.reference())
    assert time.monotonic() - began < 2
    assert isinstance(error, Transient)
    assert error.retry_after == 3600
    assert len(server.seen) == 1


def test_a_bad_request_is_not_repeated(scripted: Callable[..., Scripted]) -> None:
    """What will not heal is asked once, and the registry's own words are passed on."""
    said = json.dumps({"errors": [{"code": "UNSUPPORTED", "message": "no such\nthing"}]}).encode()
    server = scripted(lambda _: Answer(400, said))
    error = failure(server.reference())
    assert (type(error), error.reason) == (Refused, "RegistryRefused")
    assert "400: UNSUPPORTED: no such thing" in error.message
    assert len(server.seen) == 1


def test_redirect_within_the_registry(scripted: Callable[..., Scripted]) -> None:
    """A redirect on the registry's own host is followed, credentials and all."""

    def script(asked: Request) -> Answer:
        if "Authorization" not in asked.headers:
            return Answer(401, b"", {"WWW-Authenticate": f'Basic realm="{REALM}"'})
        if "/blobs/" in asked.path and "moved" not in asked.path:
            return Answer(307, b"", {"Location": "/moved" + asked.path})
        return good(asked)

    server = scripted(script)
    assert registry.pull(server.reference(), as_tester(server.host)).wasm == WASM


def test_redirect_to_another_host_shows_no_credentials(scripted: Callable[..., Scripted]) -> None:
    """A blob store that a registry redirects to never sees the registry's credentials."""
    store = scripted(good)

    def script(asked: Request) -> Answer:
        if "Authorization" not in asked.headers:
            return Answer(401, b"", {"WWW-Authenticate": f'Basic realm="{REALM}"'})
        if "/blobs/" in asked.path:
            return Answer(307, b"", {"Location": f"http://{store.host}{asked.path}"})
        return good(asked)

    server = scripted(script)
    assert registry.pull(server.reference(), as_tester(server.host)).wasm == WASM
    assert store.seen
    assert all("Authorization" not in one.headers for one in store.seen)


@dataclass
class Tokens:
    """A registry with a token service of its own, which gives each token to one scope and one use count."""

    uses: int = 1000
    issued: list[Request] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=dict)
    host: str = ""

    def __call__(self, asked: Request) -> Answer:
        if asked.path.startswith("/token"):
            return self.issue(asked)
        token = asked.headers.get("Authorization", "").removeprefix("Bearer ")
        action = "pull" if asked.method in ("GET", "HEAD") else "pull,push"
        self.served[token] = self.served.get(token, 0) + 1
        if token.split("-")[0] != action or self.served[token] > self.uses:
            scope = f"repository:team/plugin:{action}"
            header = f'Bearer realm="http://{self.host}/token",service="tests",scope="{scope}"'
            return Answer(401, b"", {"WWW-Authenticate": header})
        if asked.method == "HEAD":
            return Answer(404)
        if asked.method == "POST":
            return Answer(202, b"", {"Location": "/v2/team/plugin/blobs/uploads/1"})
        return Answer(201) if asked.method == "PUT" else good(asked)

    def issue(self, asked: Request) -> Answer:
        self.issued.append(asked)
        action = "pull,push" if "push" in asked.path + asked.body.decode() else "pull"
        return Answer(200, json.dumps({"token": f"{action}-{len(self.issued)}"}).encode())


def with_tokens(scripted: Callable[..., Scripted], tokens: Tokens) -> Scripted:
    server = scripted(tokens)
    tokens.host = server.host
    return server


def on_loopback(access: Access) -> Access:
    """The token service of these tests has a loopback address."""
    return Access(True, access.dockerconfigjson, access.deadline_seconds, access.max_bytes, True)


@pytest.mark.parametrize("password", [PASSWORD, KEY.replace("none", "x" * 4000)], ids=["a word", "a key of lines"])
def test_tokens_by_credentials(scripted: Callable[..., Scripted], password: str) -> None:
    """A bearer challenge is answered with a token that was asked for with the credentials, once for all reads."""
    tokens = Tokens()
    server = with_tokens(scripted, tokens)
    assert registry.pull(server.reference(), on_loopback(as_tester(server.host, password))).wasm == WASM
    assert len(tokens.issued) == 1
    assert "scope=repository%3Ateam%2Fplugin%3Apull" in tokens.issued[0].path
    assert "service=tests" in tokens.issued[0].path
    basic = base64.b64encode(f"{USER}:{password}".encode()).decode()
    assert tokens.issued[0].headers["Authorization"] == f"Basic {basic}"


def test_anonymous_tokens(scripted: Callable[..., Scripted]) -> None:
    """Without credentials a token is asked for without them, as public registries want."""
    tokens = Tokens()
    server = with_tokens(scripted, tokens)
    assert registry.pull(server.reference(), on_loopback(OPEN)).wasm == WASM
    assert "Authorization" not in tokens.issued[0].headers


def test_tokens_by_identity_token(scripted: Callable[..., Scripted]) -> None:
    """An identity token is exchanged by POST, not sent as a password."""
    tokens = Tokens()
    server = with_tokens(scripted, tokens)
    access = Access(dockerconfigjson=secret(server.host, identitytoken="opaque"))
    assert registry.pull(server.reference(), on_loopback(access)).wasm == WASM
    assert tokens.issued[0].method == "POST"
    assert b"refresh_token=opaque" in tokens.issued[0].body
    assert "Authorization" not in tokens.issued[0].headers


def test_an_expired_token_is_replaced(scripted: Callable[..., Scripted]) -> None:
    """A token that is no longer accepted is replaced by a new one, within the call."""
    tokens = Tokens(uses=1)
    server = with_tokens(scripted, tokens)
    assert registry.pull(server.reference(), on_loopback(OPEN)).wasm == WASM
    assert len(tokens.issued) == 2


def test_a_token_for_reading_is_not_used_for_writing(scripted: Callable[..., Scripted], file: Path) -> None:
    """Pushing asks for a token with the right to push, besides the one for reading."""
    tokens = Tokens()
    server = with_tokens(scripted, tokens)
    registry.push(server.reference(), file, on_loopback(as_tester(server.host)))
    assert len(tokens.issued) == 2


def test_a_token_service_that_says_no(scripted: Callable[..., Scripted]) -> None:
    """A refusing token service is a refusal of the credentials; nothing is repeated."""

    def script(asked: Request) -> Answer:
        if asked.path.startswith("/token"):
            return Answer(403)
        return Answer(401, b"", {"WWW-Authenticate": f'Bearer realm="http://{server.host}/token"'})

    server = scripted(script)
    error = failure(server.reference(), on_loopback(as_tester(server.host)))
    assert error.reason == "AuthenticationFailed"
    assert len(server.seen) == 2


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

    def script(asked: Request) -> Answer:
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


# --- what gateways will meet ---


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


def test_a_secret_is_in_no_text() -> None:
    """An Access may be logged: its repr and its fingerprint hide the secret; another secret has another fingerprint."""
    access = Access(dockerconfigjson=b"hush")
    assert "hush" not in repr(access)
    assert access.fingerprint != Access().fingerprint


# --- the command ---


@pytest.fixture
def no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-docker"))


@pytest.mark.usefixtures("no_docker")
def test_push_command(plain: Real, file: Path) -> None:
    """The command prints the reference to put into a release: by digest."""
    result = CliRunner().invoke(push_command.command, [str(file), f"{plain.host}/cli:1", "--insecure"])
    assert result.exit_code == 0, result.output
    pinned = image_manifests.parse(result.stdout.strip())
    assert registry.fetch(pinned, OPEN).digest == pinned.digest
    as_json = CliRunner().invoke(push_command.command, [str(file), f"{plain.host}/cli:1", "--insecure", "-o", "json"])
    assert json.loads(as_json.stdout)["reference"] == str(pinned)
    assert json.loads(as_json.stdout)["abi"] == "0_2_1"


@pytest.mark.usefixtures("no_docker")
def test_push_command_refuses_what_is_no_module(plain: Real, tmp_path: Path) -> None:
    """A file that is not a module is not pushed."""
    text = tmp_path / "plugin.wasm"
    text.write_bytes(made.text_file())
    result = CliRunner().invoke(push_command.command, [str(text), f"{plain.host}/cli:text", "--insecure"])
    assert result.exit_code == 1
    assert "NotWasm" in result.stderr
    assert failure(plain.reference("cli:text")).reason == "ManifestNotFound"


@pytest.mark.usefixtures("no_docker")
def test_push_command_warns_of_an_unknown_abi(plain: Real, tmp_path: Path) -> None:
    """What every gateway would refuse is pushed with a warning."""
    odd = tmp_path / "plugin.wasm"
    odd.write_bytes(made.unknown_abi())
    result = CliRunner().invoke(push_command.command, [str(odd), f"{plain.host}/cli:odd", "--insecure"])
    assert result.exit_code == 0
    assert "UnknownABI" in result.stderr


def test_push_command_takes_docker_credentials(
    private: Real, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's docker login is used, from where docker keeps it or from a file that is named."""
    (tmp_path / "config.json").write_bytes(secret(private.host))
    arguments = [str(file), f"{private.host}/cli:1", "--insecure"]
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    refused = CliRunner().invoke(push_command.command, arguments)
    assert (refused.exit_code, "docker login" in refused.stderr) == (1, True)
    named = CliRunner().invoke(push_command.command, [*arguments, "--docker-config", str(tmp_path / "config.json")])
    assert named.exit_code == 0, named.output
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert CliRunner().invoke(push_command.command, arguments).exit_code == 0
