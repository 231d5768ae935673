"""A registry that misbehaves on purpose, one behaviour a row: each ends in time, with little memory, and has a reason.

The pulls are made by another process, in which nothing else uses memory: `tests.edges.puller`.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pluginrelease.controller.artifacts import ArtifactCache
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.image_manifests import Digest
from pluginrelease.edges.oci.access import Access
from tests import wasm_modules as made
from tests.edges.puller import PullOrder
from tests.edges.puller_process import MIB, MORE_BYTES, MOST_SECONDS, PASSWORD, TOKEN, USER, PullerProcess, secret
from tests.edges.registry_behaviours import (
    MANIFEST,
    UNAVAILABLE,
    BehaviourRow,
    archive,
    bomb,
    closes_after_the_manifest,
    deleted,
    endless,
    entry,
    ever,
    filler,
    indexes,
    many_children,
    many_files,
    realm,
    records,
    redirect,
    sparse,
    special,
    zeros,
)
from tests.edges.scripted import (
    IMAGE,
    WASM,
    Request,
    Scripted,
    ScriptedAnswer,
    good,
    manifest_of,
    on_blobs,
    on_manifests,
    with_layer,
)

METADATA = "http://169.254.169.254/latest/meta-data?signature=planted-signature"


def rows() -> Iterator[BehaviourRow]:
    """Each behaviour with the reason that a release shows for it."""
    yield BehaviourRow("says nothing", lambda _: ScriptedAnswer(before=b""), *UNAVAILABLE, 1.5)
    yield BehaviourRow(
        "status line without end", lambda _: ScriptedAnswer(before=b"HTTP/1.1 100 Continue\r\n\r\n"), *UNAVAILABLE, 1.5
    )
    yield BehaviourRow("headers byte by byte", lambda _: ScriptedAnswer(before=b"x"), *UNAVAILABLE, 1.5)
    for part, on in (("manifest", on_manifests), ("layer", on_blobs)):
        yield BehaviourRow(
            f"{part} hangs",
            on(lambda said: replace(said, body=said.body[:50], length=200, hangs=True)),
            *UNAVAILABLE,
            1.5,
        )
        yield BehaviourRow(f"{part} byte by byte", on(lambda said: replace(said, pace=0.2)), *UNAVAILABLE, 1.5)
        broken = on(lambda said: replace(said, body=said.body[:50], length=len(said.body)))
        yield BehaviourRow(f"{part} breaks off", broken, *UNAVAILABLE)
    yield BehaviourRow("manifest without end", on_manifests(endless), "ArtifactTooLarge")
    announced = on_manifests(
        lambda said: ScriptedAnswer(200, b"", MANIFEST, length=100 * MIB, more=ever(b" " * MIB, 100))
    )
    yield BehaviourRow("manifest of 100 MB", announced, "ArtifactTooLarge")
    small = b'{"layers":[' + b"{}," * 300_000 + b"{}]}"
    yield BehaviourRow(
        "manifest of 300,000 things", on_manifests(lambda _: ScriptedAnswer(200, small, MANIFEST)), "MalformedManifest"
    )
    deep = b"[" * 500_000
    yield BehaviourRow(
        "manifest of brackets", on_manifests(lambda _: ScriptedAnswer(200, deep, MANIFEST)), "MalformedManifest"
    )
    encoded = ScriptedAnswer(200, zeros(64 * MIB), MANIFEST | {"Content-Encoding": "gzip"})
    yield BehaviourRow("manifest in gzip", on_manifests(lambda _: encoded), "MalformedManifest")
    lying = on_manifests(lambda said: replace(said, headers=MANIFEST | {"Docker-Content-Digest": f"sha256:{'0' * 64}"}))
    yield BehaviourRow("manifest of another digest", lying, "DigestMismatch")
    huge = manifest_of([{"mediaType": image_manifests.OCI_LAYER, "digest": f"sha256:{'0' * 64}", "size": 10**12}])
    yield BehaviourRow(
        "layer announced as 1 TB", on_manifests(lambda _: ScriptedAnswer(200, huge, MANIFEST)), "ArtifactTooLarge"
    )
    yield BehaviourRow("layer without end", on_blobs(endless), "DigestMismatch")
    yield BehaviourRow(
        "layer with a wrong byte", on_blobs(lambda a: replace(a, body=a.body[:-1] + b"!")), "DigestMismatch"
    )
    yield BehaviourRow("layer too short", on_blobs(lambda a: replace(a, body=a.body[:-1])), "DigestMismatch")
    yield BehaviourRow("layer too long", on_blobs(lambda a: replace(a, body=a.body + b"more")), "DigestMismatch")
    yield BehaviourRow("index of indexes", indexes, "UnreadableLayout")
    yield BehaviourRow("index of 1000 children", many_children, "MalformedManifest")
    yield BehaviourRow("redirect to the cloud's metadata", redirect(METADATA), "RegistryRedirectRefused")
    for address in ("http://localhost:1/x", "http://10.1.2.3/", "http://[fe80::1]/", "file:///etc/passwd"):
        yield BehaviourRow(f"redirect to {address}", redirect(address), "RegistryRedirectRefused")
    yield BehaviourRow(
        "redirect in a circle", lambda a: ScriptedAnswer(302, b"", {"Location": a.path}), "RegistryRedirectRefused"
    )
    for address in (
        "http://169.254.169.254/token",
        "http://localhost:9/token",
        "http://10.0.0.1/t",
        "token",
        "file:///t",
    ):
        yield BehaviourRow(f"realm {address}", realm(address), "RegistryChallengeRefused")
    slowly = 'Bearer realm="' + 'a="b\\",' * 500
    yield BehaviourRow(
        "challenge of riddles", lambda _: ScriptedAnswer(401, b"", {"WWW-Authenticate": slowly}), "AuthenticationFailed"
    )
    yield BehaviourRow("429 for ever", lambda _: ScriptedAnswer(429), *UNAVAILABLE)
    yield BehaviourRow("503 for ever", lambda _: ScriptedAnswer(503), *UNAVAILABLE)
    told = ScriptedAnswer(429, b"", {"Retry-After": "86400"})
    yield BehaviourRow("429 for a day", lambda _: told, *UNAVAILABLE)
    yield BehaviourRow("401 after success", closes_after_the_manifest, "AuthenticationFailed")
    yield BehaviourRow("deleted before the layer", deleted("/blobs/", 0)(), "ManifestNotFound", "Waiting")
    yield BehaviourRow("deleted before the manifest", deleted("/manifests/", 0)(), "ManifestNotFound", "Waiting")
    yield BehaviourRow("gzip cut off", with_layer(IMAGE.layer[:60]), "MalformedLayer")
    yield BehaviourRow("gzip bomb", bomb(), "ArtifactTooLarge")
    yield BehaviourRow("gzip bomb before the file", filler(), "ArtifactTooLarge")
    yield BehaviourRow(
        "gzip in a million parts", with_layer(gzip.compress(b"") * 1_000_000 + IMAGE.layer), "MalformedLayer"
    )
    yield BehaviourRow("not gzip", with_layer(WASM), "MalformedLayer")
    yield BehaviourRow("tar of 10,001 files", many_files(), "NoPluginWasm")
    yield BehaviourRow("tar with a remark of 32 MiB", records(32 * MIB), "MalformedLayer")
    yield BehaviourRow("tar with an endless sparse map", sparse(), "MalformedLayer")
    for name, kind, target in (
        ("symbolic link", tarfile.SYMTYPE, "/etc/passwd"),
        ("hard link", tarfile.LNKTYPE, "../../etc/passwd"),
        ("device", tarfile.CHRTYPE, ""),
        ("pipe", tarfile.FIFOTYPE, ""),
        ("folder", tarfile.DIRTYPE, ""),
    ):
        yield BehaviourRow(f"tar with a {name}", special(kind, target), "NoPluginWasm")
    for path in ("../plugin.wasm", "/etc/plugin.wasm"):  # an agent takes it too, and nothing is written by its name
        yield BehaviourRow(f"tar with {path}", with_layer(archive((entry(path), WASM))), "", "")


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: row.name)
def test_a_behaviour(
    row: BehaviourRow, puller: PullerProcess, scripted: Callable[..., Scripted], tmp_path: Path
) -> None:
    """Whatever a registry does: a reason of its own, within a minute, with at most 64 MiB more memory; nothing of the
    credentials in what is told, and nothing left on disk that was not checked."""
    server = scripted(row.script)
    order = PullOrder(str(server.reference()), secret(server.host), str(tmp_path), row.deadline)
    outcome = puller(order)
    assert (outcome.reason, outcome.kind) == (row.reason, row.kind), outcome.text
    assert outcome.seconds < MOST_SECONDS / 2
    assert outcome.more <= MORE_BYTES
    assert "planted" not in outcome.text
    for path in tmp_path.glob("blobs/*-*"):
        assert Digest.of(path.read_bytes()).hex == path.name.partition("-")[2]
    assert len(server.seen) < 12


def test_by_digest(puller: PullerProcess, scripted: Callable[..., Scripted]) -> None:
    """Who asks by digest gets the bytes of that digest, or an error."""
    server = scripted(good)
    outcome = puller(PullOrder(str(server.reference(f"team/plugin@sha256:{'0' * 64}"))))
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

    def script(asked: Request) -> ScriptedAnswer:
        if "/blobs/" in asked.path:
            return ScriptedAnswer(200, b"", length=layer.stat().st_size, more=iter_file(layer))
        return ScriptedAnswer(200, manifest, MANIFEST)

    server = scripted(script)
    for _ in ("cold", "warm"):
        outcome = puller(PullOrder(str(server.reference()), cache=str(tmp_path), deadline=120))
        assert outcome.reason == "", outcome.text
        assert outcome.more <= MORE_BYTES
    assert server.asked("/blobs/") == 1


def iter_file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(MIB):
            yield piece


def test_no_secret_is_anywhere(puller: PullerProcess, scripted: Callable[..., Scripted], tmp_path: Path) -> None:
    """User, password and tokens are in no log line, message, traceback, cache file, argument or environment."""
    store = scripted(lambda asked: ScriptedAnswer(500) if "refused" in asked.path else good(asked))

    def script(asked: Request) -> ScriptedAnswer:
        if asked.path.startswith("/token"):
            return ScriptedAnswer(200, json.dumps({"token": TOKEN}).encode())
        if asked.headers.get("Authorization") != f"Bearer {TOKEN}" or "denied" in asked.path:
            return ScriptedAnswer(401, b"", {"WWW-Authenticate": f'Bearer realm="http://{server.host}/token"'})
        if "/blobs/" in asked.path:
            part = "refused" if "refused" in asked.path else "blobs"
            return ScriptedAnswer(
                307, b"", {"Location": f"http://{store.host}/{part}/blobs/x?signature=planted-signature"}
            )
        return good(asked)

    server = scripted(script)
    keys = [secret(server.host), secret(server.host, identitytoken="planted-identity")]
    names = ("team/plugin:1", "team/refused:1", "team/denied:1")
    orders = [
        PullOrder(str(server.reference(name)), key, str(tmp_path), private=True) for key in keys for name in names
    ]
    told = [puller(order) for order in orders]
    assert [answer.reason for answer in told] == ["", "RegistryUnavailable", "AuthenticationFailed"] * 2
    assert any(
        PASSWORD.encode() in request.body or "Basic " in request.headers.get("Authorization", "")
        for request in server.seen
    )
    encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode())
    process = Path(f"/proc/{puller.process.pid}")
    texts = [answer.text.encode() for answer in told] + [puller.log.read_bytes()]
    texts += [(process / name).read_bytes() for name in ("cmdline", "environ")]
    texts += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert b"not pulled" in puller.log.read_bytes()
    for text in texts:
        assert b"planted" not in text
        assert encoded not in text


def test_one_that_hangs_holds_up_nobody_else(scripted: Callable[..., Scripted]) -> None:
    """While every pull that a registry may have hangs, releases of another registry are fetched."""
    fine = scripted(good)
    access, short = (Access(insecure=True, deadline_seconds=seconds) for seconds in (20, 5))

    async def both() -> float:
        loop, asked = asyncio.get_running_loop(), asyncio.Semaphore(0)

        def hang(_: Request) -> ScriptedAnswer:
            loop.call_soon_threadsafe(asked.release)
            return ScriptedAnswer(before=b"")

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
