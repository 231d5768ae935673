"""What a registry may do, one behaviour a function: layers, manifests, redirects and challenges."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.archive import MAX_MEMBERS
from pluginrelease.core.artifact.image_manifests import Digest
from tests.edges.puller_process import MIB
from tests.edges.scripted import (
    IMAGE,
    WASM,
    Request,
    Script,
    ScriptedAnswer,
    good,
    with_layer,
)

REALM = "https://registry.example.com/"


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


def indexes(asked: Request) -> ScriptedAnswer:
    """An index whose child is an index, and so on, each of them right."""
    depth = int(asked.path.rpartition("-")[2]) if "depth-" in asked.path else 0
    known = {str(Digest.of(nested(number))): number for number in range(6)}
    depth = known.get(asked.path.rpartition("/")[2], depth)
    return ScriptedAnswer(200, nested(depth), {"Content-Type": image_manifests.OCI_INDEX})


def nested(depth: int) -> bytes:
    if depth == 5:
        return IMAGE.manifest
    child = nested(depth + 1)
    listed = {"mediaType": image_manifests.OCI_INDEX, "digest": str(Digest.of(child)), "size": len(child)}
    return json.dumps({"schemaVersion": 2, "depth": depth, "manifests": [listed]}).encode()


def many_children(asked: Request) -> ScriptedAnswer:
    one = {"mediaType": image_manifests.OCI_MANIFEST, "digest": str(IMAGE.digest), "size": 1}
    return ScriptedAnswer(
        200, json.dumps({"manifests": [one] * 1000}).encode(), {"Content-Type": image_manifests.OCI_INDEX}
    )


def deleted(part: str, after: int) -> Callable[[], Script]:
    """What was there for so many requests is gone."""

    def fresh() -> Script:
        seen: list[str] = []

        def script(asked: Request) -> ScriptedAnswer:
            if part in asked.path:
                seen.append(asked.path)
                if len(seen) > after:
                    return ScriptedAnswer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
            return good(asked)

        return script

    return fresh


def locked(asked: Request) -> ScriptedAnswer:
    """Lets nobody in without credentials."""
    if "Authorization" not in asked.headers:
        return ScriptedAnswer(401, b"", {"WWW-Authenticate": f'Basic realm="{REALM}"'})
    return good(asked)


def closes_after_the_manifest(asked: Request) -> ScriptedAnswer:
    return (
        ScriptedAnswer(401, b"", {"WWW-Authenticate": f'Basic realm="{REALM}"'})
        if "/blobs/" in asked.path
        else locked(asked)
    )


def realm(address: str) -> Script:
    return lambda _: ScriptedAnswer(401, b"", {"WWW-Authenticate": f'Bearer realm="{address}",service="x"'})


def redirect(address: str) -> Script:
    return lambda _: ScriptedAnswer(307, b"", {"Location": address})


def ever(piece: bytes, count: int = 100_000) -> Iterator[bytes]:
    for _ in range(count):
        yield piece


def endless(answer: ScriptedAnswer) -> ScriptedAnswer:
    return replace(answer, length=-1, more=ever(b" " * 65536))


UNAVAILABLE = ("RegistryUnavailable", "Transient")
MANIFEST = {"Content-Type": image_manifests.OCI_MANIFEST}


@dataclass(frozen=True)
class BehaviourRow:
    """``reason`` empty: it is taken. ``kind`` says whether a person must act, or it is tried again."""

    name: str
    script: Script
    reason: str
    kind: str = "Refused"
    deadline: float = 20.0
