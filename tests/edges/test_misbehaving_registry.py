"""A registry that misbehaves on purpose, one behaviour a row: each ends in time, with little memory, and has a reason.

The pulls are made by another process, in which nothing else uses memory: `tests.edges.puller`.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, cast

import pytest

from pluginrelease import api
from pluginrelease.controller.artifacts import ArtifactCache
from pluginrelease.controller.context import Context
from pluginrelease.controller.scope import ReconcileScope
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.archive import MAX_MEMBERS
from pluginrelease.core.artifact.image_manifests import Digest
from pluginrelease.core.errors import Refused, Transient
from pluginrelease.core.registry import tags
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease.settings import Settings
from tests import wasm_modules as made
from tests.edges.puller import Order, Outcome
from tests.edges.scripted import (
    IMAGE,
    WASM,
    Answer,
    Request,
    Script,
    Scripted,
    good,
    manifest_of,
    on_blobs,
    on_manifests,
    serving,
    with_layer,
)
from tests.releases import ARTIFACT, release

CHECKOUT = Path(__file__).parents[2]
MIB = 1024 * 1024
MORE_BYTES = 64 * MIB
MOST_SECONDS = 60.0
USER, PASSWORD, TOKEN = "planted-user", "planted-password", "planted-token"
REALM = "https://registry.example.com/"
METADATA = "http://169.254.169.254/latest/meta-data?signature=planted-signature"


def secret(host: str, **entry: str) -> str:
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return json.dumps({"auths": {host: entry or {"auth": auth}}})


# --- the process that pulls ---


@dataclass
class PullerProcess:
    process: subprocess.Popen[str]
    log: Path

    def __call__(self, order: Order) -> Outcome:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(asdict(order)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, self.log.read_text()
        return Outcome(**json.loads(answer))


@pytest.fixture(scope="module")
def puller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PullerProcess]:
    """The process, which has pulled once: what it needs for good is in memory."""
    log = tmp_path_factory.mktemp("puller") / "log"
    program = [sys.executable, "-m", "tests.edges.puller"]
    with log.open("w") as out, serving() as start:
        pipes: dict[str, IO[str] | int] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": out}
        with subprocess.Popen(program, cwd=CHECKOUT, text=True, **pipes) as process:  # type: ignore[call-overload]
            one = PullerProcess(process, log)
            assert one(Order(str(start(good).reference()))).reason == ""
            yield one
            process.stdin.close()


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    with serving() as start:
        yield start


# --- what a registry may do ---


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def special(kind: bytes, target: str = "") -> Script:
    """plugin.wasm is no file."""
    return with_layer(archive((entry("plugin.wasm", kind, target), b"")))


def records(size: int) -> Script:
    """A file with a remark of so many bytes."""
    member = entry("plugin.wasm")
    member.pax_headers = {"comment": "x" * size}
    return with_layer(archive((member, WASM)))


def sparse() -> Script:
    """A map of a sparse file that never ends: 21 pieces in each 512 bytes."""
    member = entry("plugin.wasm", tarfile.GNUTYPE_SPARSE)
    member.size = len(WASM)
    head = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    head[482] = 1
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + 8 * 32 + sum(head[156:512]))
    more = (b"%011o\0%011o\0" % (512, 1)) * 21 + b"\1" + bytes(7)
    return with_layer(gzip.compress(bytes(head) + more * 200_000, 1))


def zeros(size: int) -> bytes:
    """gzip data of zeros."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(size // MIB)) + packer.flush()


def bomb() -> Script:
    """plugin.wasm of 1 GiB in a layer of 1 MiB."""
    member = entry("plugin.wasm")
    member.size = 1024 * MIB
    head = gzip.compress(entry("padding").tobuf())
    return with_layer(head + gzip.compress(member.tobuf()) + zeros(1024 * MIB))


def filler() -> Script:
    """Another file of 1 GiB stands before plugin.wasm."""
    member = entry("big")
    member.size = 1024 * MIB
    return with_layer(gzip.compress(member.tobuf()) + zeros(1024 * MIB))


def many_files() -> Script:
    return with_layer(archive(*((entry(f"f{number}"), b"") for number in range(MAX_MEMBERS + 1))))


def indexes(asked: Request) -> Answer:
    """An index whose child is an index, and so on, each of them right."""
    depth = int(asked.path.rpartition("-")[2]) if "depth-" in asked.path else 0
    known = {str(Digest.of(nested(number))): number for number in range(6)}
    depth = known.get(asked.path.rpartition("/")[2], depth)
    return Answer(200, nested(depth), {"Content-Type": image_manifests.OCI_INDEX})


def nested(depth: int) -> bytes:
    if depth == 5:
        return IMAGE.manifest
    child = nested(depth + 1)
    listed = {"mediaType": image_manifests.OCI_INDEX, "digest": str(Digest.of(child)), "size": len(child)}
    return json.dumps({"schemaVersion": 2, "depth": depth, "manifests": [listed]}).encode()


def many_children(asked: Request) -> Answer:
    one = {"mediaType": image_manifests.OCI_MANIFEST, "digest": str(IMAGE.digest), "size": 1}
    return Answer(200, json.dumps({"manifests": [one] * 1000}).encode(), {"Content-Type": image_manifests.OCI_INDEX})


def deleted(part: str, after: int) -> Callable[[], Script]:
    """What was there for so many requests is gone."""

    def fresh() -> Script:
        seen: list[str] = []

        def script(asked: Request) -> Answer:
            if part in asked.path:
                seen.append(asked.path)
                if len(seen) > after:
                    return Answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
            return good(asked)

        return script

    return fresh


def locked(asked: Request) -> Answer:
    """Lets nobody in without credentials."""
    if "Authorization" not in asked.headers:
        return Answer(401, b"", {"WWW-Authenticate": f'Basic realm="{REALM}"'})
    return good(asked)


def closes_after_the_manifest(asked: Request) -> Answer:
    return (
        Answer(401, b"", {"WWW-Authenticate": f'Basic realm="{REALM}"'}) if "/blobs/" in asked.path else locked(asked)
    )


def realm(address: str) -> Script:
    return lambda _: Answer(401, b"", {"WWW-Authenticate": f'Bearer realm="{address}",service="x"'})


def redirect(address: str) -> Script:
    return lambda _: Answer(307, b"", {"Location": address})


def ever(piece: bytes, count: int = 100_000) -> Iterator[bytes]:
    for _ in range(count):
        yield piece


def endless(answer: Answer) -> Answer:
    return replace(answer, length=-1, more=ever(b" " * 65536))


UNAVAILABLE = ("RegistryUnavailable", "Transient")
MANIFEST = {"Content-Type": image_manifests.OCI_MANIFEST}


@dataclass(frozen=True)
class Row:
    """``reason`` empty: it is taken. ``kind`` says whether a person must act, or it is tried again."""

    name: str
    script: Script
    reason: str
    kind: str = "Refused"
    deadline: float = 20.0


def rows() -> Iterator[Row]:
    """Each behaviour with the reason that a release shows for it."""
    yield Row("says nothing", lambda _: Answer(before=b""), *UNAVAILABLE, 1.5)
    yield Row("status line without end", lambda _: Answer(before=b"HTTP/1.1 100 Continue\r\n\r\n"), *UNAVAILABLE, 1.5)
    yield Row("headers byte by byte", lambda _: Answer(before=b"x"), *UNAVAILABLE, 1.5)
    for part, on in (("manifest", on_manifests), ("layer", on_blobs)):
        yield Row(
            f"{part} hangs",
            on(lambda said: replace(said, body=said.body[:50], length=200, hangs=True)),
            *UNAVAILABLE,
            1.5,
        )
        yield Row(f"{part} byte by byte", on(lambda said: replace(said, pace=0.2)), *UNAVAILABLE, 1.5)
        broken = on(lambda said: replace(said, body=said.body[:50], length=len(said.body)))
        yield Row(f"{part} breaks off", broken, *UNAVAILABLE)
    yield Row("manifest without end", on_manifests(endless), "ArtifactTooLarge")
    announced = on_manifests(lambda said: Answer(200, b"", MANIFEST, length=100 * MIB, more=ever(b" " * MIB, 100)))
    yield Row("manifest of 100 MB", announced, "ArtifactTooLarge")
    small = b'{"layers":[' + b"{}," * 300_000 + b"{}]}"
    yield Row("manifest of 300,000 things", on_manifests(lambda _: Answer(200, small, MANIFEST)), "MalformedManifest")
    deep = b"[" * 500_000
    yield Row("manifest of brackets", on_manifests(lambda _: Answer(200, deep, MANIFEST)), "MalformedManifest")
    encoded = Answer(200, zeros(64 * MIB), MANIFEST | {"Content-Encoding": "gzip"})
    yield Row("manifest in gzip", on_manifests(lambda _: encoded), "MalformedManifest")
    lying = on_manifests(lambda said: replace(said, headers=MANIFEST | {"Docker-Content-Digest": f"sha256:{'0' * 64}"}))
    yield Row("manifest of another digest", lying, "DigestMismatch")
    huge = manifest_of([{"mediaType": image_manifests.OCI_LAYER, "digest": f"sha256:{'0' * 64}", "size": 10**12}])
    yield Row("layer announced as 1 TB", on_manifests(lambda _: Answer(200, huge, MANIFEST)), "ArtifactTooLarge")
    yield Row("layer without end", on_blobs(endless), "DigestMismatch")
    yield Row("layer with a wrong byte", on_blobs(lambda a: replace(a, body=a.body[:-1] + b"!")), "DigestMismatch")
    yield Row("layer too short", on_blobs(lambda a: replace(a, body=a.body[:-1])), "DigestMismatch")
    yield Row("layer too long", on_blobs(lambda a: replace(a, body=a.body + b"more")), "DigestMismatch")
    yield Row("index of indexes", indexes, "UnreadableLayout")
    yield Row("index of 1000 children", many_children, "MalformedManifest")
    yield Row("redirect to the cloud's metadata", redirect(METADATA), "RegistryRedirectRefused")
    for address in ("http://localhost:1/x", "http://10.1.2.3/", "http://[fe80::1]/", "file:///etc/passwd"):
        yield Row(f"redirect to {address}", redirect(address), "RegistryRedirectRefused")
    yield Row("redirect in a circle", lambda a: Answer(302, b"", {"Location": a.path}), "RegistryRedirectRefused")
    for address in (
        "http://169.254.169.254/token",
        "http://localhost:9/token",
        "http://10.0.0.1/t",
        "token",
        "file:///t",
    ):
        yield Row(f"realm {address}", realm(address), "RegistryChallengeRefused")
    slowly = 'Bearer realm="' + 'a="b\\",' * 500
    yield Row("challenge of riddles", lambda _: Answer(401, b"", {"WWW-Authenticate": slowly}), "AuthenticationFailed")
    yield Row("429 for ever", lambda _: Answer(429), *UNAVAILABLE)
    yield Row("503 for ever", lambda _: Answer(503), *UNAVAILABLE)
    told = Answer(429, b"", {"Retry-After": "86400"})
    yield Row("429 for a day", lambda _: told, *UNAVAILABLE)
    yield Row("401 after success", closes_after_the_manifest, "AuthenticationFailed")
    yield Row("deleted before the layer", deleted("/blobs/", 0)(), "ManifestNotFound", "Waiting")
    yield Row("deleted before the manifest", deleted("/manifests/", 0)(), "ManifestNotFound", "Waiting")
    yield Row("gzip cut off", with_layer(IMAGE.layer[:60]), "MalformedLayer")
    yield Row("gzip bomb", bomb(), "ArtifactTooLarge")
    yield Row("gzip bomb before the file", filler(), "ArtifactTooLarge")
    yield Row("gzip in a million parts", with_layer(gzip.compress(b"") * 1_000_000 + IMAGE.layer), "MalformedLayer")
    yield Row("not gzip", with_layer(WASM), "MalformedLayer")
    yield Row("tar of 10,001 files", many_files(), "NoPluginWasm")
    yield Row("tar with a remark of 32 MiB", records(32 * MIB), "MalformedLayer")
    yield Row("tar with an endless sparse map", sparse(), "MalformedLayer")
    for name, kind, target in (
        ("symbolic link", tarfile.SYMTYPE, "/etc/passwd"),
        ("hard link", tarfile.LNKTYPE, "../../etc/passwd"),
        ("device", tarfile.CHRTYPE, ""),
        ("pipe", tarfile.FIFOTYPE, ""),
        ("folder", tarfile.DIRTYPE, ""),
    ):
        yield Row(f"tar with a {name}", special(kind, target), "NoPluginWasm")
    for path in ("../plugin.wasm", "/etc/plugin.wasm"):  # an agent takes it too, and nothing is written by its name
        yield Row(f"tar with {path}", with_layer(archive((entry(path), WASM))), "", "")


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: row.name)
def test_a_behaviour(row: Row, puller: PullerProcess, scripted: Callable[..., Scripted], tmp_path: Path) -> None:
    """Whatever a registry does: a reason of its own, within a minute, with at most 64 MiB more memory; nothing of the
    credentials in what is told, and nothing left on disk that was not checked."""
    server = scripted(row.script)
    order = Order(str(server.reference()), secret(server.host), str(tmp_path), row.deadline)
    outcome = puller(order)
    assert (outcome.reason, outcome.kind) == (row.reason, row.kind), outcome.text
    assert outcome.seconds < MOST_SECONDS / 2
    assert outcome.more <= MORE_BYTES
    assert "planted" not in outcome.text
    for path in tmp_path.glob("blobs/*-*"):
        assert Digest.of(path.read_bytes()).hex == path.name.partition("-")[2]
    assert len(server.seen) < 12


# --- what it may do when it is asked for tags ---


def pages(tags: Callable[[int], str], link: str = "/v2/team/plugin/tags/list?last={}", count: int = 10**9) -> Script:
    """A list of tags of so many pages; by default it always goes on."""

    def script(asked: Request) -> Answer:
        last = asked.path.rpartition("last=")[2] if "last=" in asked.path else "0"
        if not last.isdigit():
            return Answer(200, list_of().encode())
        number = int(last)
        further = {"Link": f'<{link.format(number + 1)}>; rel="next"'} if number + 1 < count else {}
        return Answer(200, tags(number).encode(), further)

    return script


def list_of(*tags: str) -> str:
    return json.dumps({"name": "team/plugin", "tags": tags})


def tag_rows() -> Iterator[Row]:
    yield Row("the same page for ever", pages(lambda _: list_of("1.0.0"), "/v2/team/plugin/tags/list?n=1"), "")
    yield Row("pages without end", pages(lambda page: list_of(f"1.{page}.0")), "TooManyTags")
    for count, reason in ((20, ""), (21, "TooManyTags")):
        thousands = pages(lambda page: list_of(*(f"1.{page}.{n}" for n in range(1000))), count=count)
        yield Row(f"{count} thousand tags", thousands, reason)
    yield Row("full pages", pages(lambda page: list_of(f"1.{page}.0") + " " * (MIB - 100)), "TooManyTags")
    elsewhere = "http://localhost:1/v2/team/plugin/tags/list?last={}"
    for address in (elsewhere, "https://registry.example.com/v2/", "file:///etc/passwd", "//10.0.0.1/v2/"):
        yield Row(f"goes on at {address}", pages(lambda _: list_of("1.0.0"), address), "RegistryRedirectRefused")
    yield Row("list without end", lambda _: endless(Answer(200, b'{"tags":["1.0.0"')), "TooManyTags")
    yield Row("list of 100 MB", lambda _: Answer(200, b"", length=100 * MIB, more=ever(b" " * MIB, 100)), "TooManyTags")
    yield Row("list byte by byte", lambda _: Answer(200, list_of("1.0.0").encode(), pace=0.2), *UNAVAILABLE, 1.5)
    yield Row("list of things", lambda _: Answer(200, b'{"tags":[' + b"{}," * 300_000 + b"{}]}"), "")
    yield Row("list of brackets", lambda _: Answer(200, b"[" * 500_000), "RegistryRefused")
    yield Row("no list", lambda _: Answer(200, b'{"tags":{"1.0.0":1}}'), "RegistryRefused")
    yield Row("a page of text", lambda _: Answer(200, b"<html>"), "RegistryRefused")
    yield Row("no such question", lambda _: Answer(405), "RegistryRefused")
    yield Row("nothing there", lambda _: Answer(404), "ManifestNotFound", "Waiting")
    yield Row("503 for ever", lambda _: Answer(503), *UNAVAILABLE)


@pytest.mark.parametrize("row", list(tag_rows()), ids=lambda row: row.name)
def test_a_behaviour_when_asked_for_tags(row: Row, puller: PullerProcess, scripted: Callable[..., Scripted]) -> None:
    """Whatever a registry lists: a reason of its own, within a minute, with at most 64 MiB more memory."""
    server = scripted(row.script)
    order = Order(f"{server.host}/team/plugin", secret(server.host), deadline=row.deadline, tags=True)
    outcome = puller(order)
    assert (outcome.reason, outcome.kind) == (row.reason, row.kind if row.reason else ""), outcome.text
    assert outcome.seconds < MOST_SECONDS / 2
    assert outcome.more <= MORE_BYTES
    assert "planted" not in outcome.text


THOUSANDS = sorted([*(f"1.{number}.0" for number in range(1200)), "9.0.0"])


def listing(*, link: str | None = None, heeds_last: bool = True, fails: int = 0) -> Script:
    """The first thousand of what is there after ``last``; ``link`` with what names the rest, None for no such header.

    ``fails``: what it answers to a question with ``last``.
    """

    def script(asked: Request) -> Answer:
        if "Authorization" not in asked.headers:
            return Answer(401, b"", {"WWW-Authenticate": f'Basic realm="{REALM}"'})
        last = asked.path.rpartition("last=")[2] if "last=" in asked.path else ""
        if last and fails:
            return Answer(fails)
        rest = [one for one in THOUSANDS if one > last or not heeds_last]
        further = {} if link is None or len(rest) <= 1000 else {"Link": f'<{link.format(rest[999])}>; rel="next"'}
        return Answer(200, list_of(*rest[:1000]).encode(), further)

    return script


def listed(server: Scripted) -> tags.Listed:
    access = Access(insecure=True, deadline_seconds=20, dockerconfigjson=secret(server.host).encode())
    return registry.list_tags(image_manifests.parse_repository(f"{server.host}/team/plugin"), access)


QUERY = "?n=1000&last={}"


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("no Link at all", None),
        ("the right one", f"/v2/team/plugin/tags/list{QUERY}"),
        ("a query alone", QUERY),
        ("https, where http is spoken", f"https://HOST/v2/team/plugin/tags/list{QUERY}"),
        ("another port", f"http://127.0.0.1:8081/v2/team/plugin/tags/list{QUERY}"),
        ("the path behind the proxy", f"/repository/docker-hosted/v2/plugin/tags/list{QUERY}"),
        ("a path without its beginning", f"/team/plugin/tags/list{QUERY}"),
        ("the list of another repository", f"/v2/other/tags/list{QUERY}"),
        ("no query", "/v2/team/plugin/tags/list"),
    ],
)
def test_a_list_goes_on(name: str, link: str | None, scripted: Callable[..., Scripted]) -> None:
    """Registries behind a proxy name the next page wrongly, or not at all: it is asked for here all the same."""
    server = scripted(good)
    server.script = listing(link=link.replace("HOST", server.host) if link else None)
    found = listed(server)
    assert (sorted(found.tags), found.whole) == (THOUSANDS, True)
    assert {one.path.partition("?")[0] for one in server.seen} == {"/v2/team/plugin/tags/list"}
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("it gives the first page again", listing(heeds_last=False)),
        ("it refuses to go on", listing(fails=400)),
        ("it has nothing there", listing(fails=404)),
    ],
)
def test_a_list_that_is_cut(name: str, script: Script, scripted: Callable[..., Scripted]) -> None:
    """What nobody gives out cannot be taken; that it may be missing is known, and a release does not go down for it."""
    server = scripted(script)
    found = listed(server)
    assert (len(found.tags), found.whole) == (1000, False)
    assert len(server.seen) == 3
    with pytest.raises(Refused) as raised:
        tags.pick("r/plugin", ">=1.0.0", found.tags, whole=found.whole, seen="9.0.0")
    assert raised.value.reason == "TagListIncomplete"


@pytest.mark.parametrize(
    ("ran", "heeds_last", "picked", "events", "why"),
    [
        ("1.500.0", True, "9.0.0", [], "a list that was read to its end"),
        (None, False, "1.1199.0", ["TagListIncomplete"], "a first one: taken, and said"),
        ("1.500.0", False, "1.1199.0", ["TagListIncomplete"], "it goes up, and may miss the highest: said"),
        ("1.1199.0", False, "1.1199.0", [], "nothing changes"),
        ("9.0.0", False, "", [], "it would go down"),
    ],
)
async def test_a_release_and_a_list_that_may_be_cut(
    ran: str | None, heeds_last: bool, picked: str, events: list[str], why: str, scripted: Callable[..., Scripted]
) -> None:
    """When a repository crosses the length of a page, no release goes down to an older version without a word."""
    server = scripted(listing(heeds_last=heeds_last))
    ref = f"{server.host}/team/plugin"
    asking = release(spec__artifact={"image": {"ref": ref, "semver": ">=1.0.0"}})
    known = ARTIFACT.model_copy(update={"ref": f"{ref}:{ran}", "semver": ">=1.0.0"}) if ran else None
    world = Context(cast("Cluster", None), Settings(), ArtifactCache())
    work = ReconcileScope(world, asking.model_copy(update={"status": api.Status(artifact=known)}))
    access = Access(insecure=True, deadline_seconds=20, dockerconfigjson=secret(server.host).encode())
    if picked:
        assert await work.named(asking.spec.artifact.image, access) == f"{ref}:{picked}", why
    else:
        with pytest.raises(Refused) as raised:
            await work.named(asking.spec.artifact.image, access)
        assert raised.value.reason == "TagListIncomplete", why
    assert [event.reason for event in work.report.events] == events, why


def test_a_list_that_cannot_be_asked_on_just_now(scripted: Callable[..., Scripted]) -> None:
    """A registry that is out of order is tried again, and its list not called cut."""
    with pytest.raises(Transient) as raised:
        listed(scripted(listing(fails=503)))
    assert raised.value.reason == "RegistryUnavailable"


@pytest.mark.parametrize(
    "address", ["http://localhost:{}/v2/team/plugin/tags/list?last=1", "//localhost:{}/v2/?last=1"]
)
def test_no_other_host_is_asked_for_tags(address: str, scripted: Callable[..., Scripted]) -> None:
    """Whoever can write a Link gets neither a request nor the credentials; the remedy says what to do about it."""
    other = scripted(good)
    server = scripted(listing(link=address.format(other.host.partition(":")[2])))
    with pytest.raises(Refused) as raised:
        listed(server)
    assert raised.value.reason == "RegistryRedirectRefused"
    assert "Link" in raised.value.remedy
    assert other.seen == []


def test_by_digest(puller: PullerProcess, scripted: Callable[..., Scripted]) -> None:
    """Who asks by digest gets the bytes of that digest, or an error."""
    server = scripted(good)
    outcome = puller(Order(str(server.reference(f"team/plugin@sha256:{'0' * 64}"))))
    assert outcome.reason == "DigestMismatch"


def test_a_large_image(puller: PullerProcess, scripted: Callable[..., Scripted], tmp_path: Path) -> None:
    """An image near the most that a gateway reads, layer and module alike, is pulled with 64 MiB more at most."""
    size = 250 * MIB
    padding = size - 16
    head = WASM + b"\0" + made.leb(padding + 2) + b"\1x"
    member = entry("plugin.wasm")
    member.size = len(head) + padding
    packer = zlib.compressobj(0, wbits=31)
    layer = tmp_path / "layer"
    with layer.open("wb") as out:
        out.write(packer.compress(member.tobuf() + head))
        for _ in range(padding // MIB):
            out.write(packer.compress(bytes(MIB)))
        out.write(packer.compress(bytes(padding % MIB + 1024)) + packer.flush())
    with layer.open("rb") as file:
        digest = Digest(hashlib.file_digest(file, "sha256").hexdigest())
    manifest = manifest_of(
        [{"mediaType": image_manifests.OCI_LAYER, "digest": str(digest), "size": layer.stat().st_size}]
    )

    def script(asked: Request) -> Answer:
        if "/blobs/" in asked.path:
            return Answer(200, b"", length=layer.stat().st_size, more=iter_file(layer))
        return Answer(200, manifest, MANIFEST)

    server = scripted(script)
    for _ in ("cold", "warm"):
        outcome = puller(Order(str(server.reference()), cache=str(tmp_path), deadline=120))
        assert outcome.reason == "", outcome.text
        assert outcome.more <= MORE_BYTES
    assert server.asked("/blobs/") == 1


def iter_file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(MIB):
            yield piece


def test_no_secret_is_anywhere(puller: PullerProcess, scripted: Callable[..., Scripted], tmp_path: Path) -> None:
    """User, password and tokens are in no log line, message, traceback, cache file, argument or environment."""
    store = scripted(lambda asked: Answer(500) if "refused" in asked.path else good(asked))

    def script(asked: Request) -> Answer:
        if asked.path.startswith("/token"):
            return Answer(200, json.dumps({"token": TOKEN}).encode())
        if asked.headers.get("Authorization") != f"Bearer {TOKEN}" or "denied" in asked.path:
            return Answer(401, b"", {"WWW-Authenticate": f'Bearer realm="http://{server.host}/token"'})
        if "/blobs/" in asked.path:
            part = "refused" if "refused" in asked.path else "blobs"
            return Answer(307, b"", {"Location": f"http://{store.host}/{part}/blobs/x?signature=planted-signature"})
        return good(asked)

    server = scripted(script)
    keys = [secret(server.host), secret(server.host, identitytoken="planted-identity")]
    names = ("team/plugin:1", "team/refused:1", "team/denied:1")
    orders = [Order(str(server.reference(name)), key, str(tmp_path), private=True) for key in keys for name in names]
    told = [puller(order) for order in orders]
    assert [one.reason for one in told] == ["", "RegistryUnavailable", "AuthenticationFailed"] * 2
    assert any(PASSWORD.encode() in one.body or "Basic " in one.headers.get("Authorization", "") for one in server.seen)
    encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode())
    process = Path(f"/proc/{puller.process.pid}")
    texts = [one.text.encode() for one in told] + [puller.log.read_bytes()]
    texts += [(process / name).read_bytes() for name in ("cmdline", "environ")]
    texts += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert b"not pulled" in puller.log.read_bytes()
    for text in texts:
        assert b"planted" not in text
        assert encoded not in text


# --- the others go on ---


def test_one_that_hangs_holds_up_nobody_else(scripted: Callable[..., Scripted]) -> None:
    """While every pull that a registry may have hangs, releases of another registry are fetched."""
    fine = scripted(good)
    access, short = (Access(insecure=True, deadline_seconds=seconds) for seconds in (20, 5))

    async def both() -> float:
        loop, asked = asyncio.get_running_loop(), asyncio.Semaphore(0)

        def hang(_: Request) -> Answer:
            loop.call_soon_threadsafe(asked.release)
            return Answer(before=b"")

        hanging = scripted(hang)
        shelf = ArtifactCache(parallel=2, parallel_in_all=4)
        stuck = [asyncio.create_task(shelf.obtain(hanging.reference(f"r/{n}:1"), short)) for n in range(6)]
        await asked.acquire()
        await asked.acquire()
        began = time.monotonic()
        await shelf.obtain(fine.reference(), access)
        took = time.monotonic() - began
        assert len(hanging.seen) == 2, "no more than two at a time from one registry"
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
        return took

    assert asyncio.run(both()) < 4
