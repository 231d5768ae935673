"""The one reader of tar archives, by way of its two users: what it gives is bounded, whatever an archive says."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable

import pytest

from pluginrelease.core.artifact import archive, image_manifests, salvage
from pluginrelease.core.artifact.archive import ArchiveStream, Malformed, TooLarge, TooManyMembers
from pluginrelease.core.artifact.image_manifests import Digest
from pluginrelease.core.errors import Refused
from tests.tars import END, MIB, MODULE, gnu_sparse, head, padded, pax_sparse

ENDLESS = 10**18  # bytes: what would take for ever to skip


def extract(tar: bytes) -> bytes:
    return image_manifests.extract(gzip.compress(tar), MIB)


def take(tar: bytes) -> bytes:
    layer = {"mediaType": "any/thing", "digest": str(Digest.of(tar)), "size": len(tar)}
    return salvage.find_module(json.dumps({"layers": [layer]}).encode(), lambda _: tar, MIB)


USERS = pytest.mark.parametrize("read", [extract, take], ids=["extract", "salvage"])


@USERS
@pytest.mark.parametrize(
    "tar",
    [
        gnu_sparse(64 * MIB, (0, 8)),
        gnu_sparse(ENDLESS, (0, 8)),
        pax_sparse(64 * MIB),
        pax_sparse(10**30),
        head("other", 0, size=str(ENDLESS)) + bytes(MIB // 2),
        head("other", 0, size=str(10**30)) + bytes(MIB // 2),
        head("other", 1 << 33) + bytes(MIB),
        bytes(2 * MIB).join([head("other", 2 * MIB), head("plugin.wasm", len(MODULE))]) + padded(MODULE),
    ],
    ids=["sparse", "endless", "PAX sparse", "more than 64 bits", "size", "huge size", "no such file", "before it"],
)
def test_what_would_expand_to_too_much(read: Callable[[bytes], bytes], tar: bytes) -> None:
    """A file is as large as it expands to, stored or not, and one that is passed over counts as well."""
    with pytest.raises(Refused) as refused:
        read(tar + END)
    assert refused.value.reason == "ArtifactTooLarge"


@USERS
@pytest.mark.parametrize(
    "tar",
    [
        head("plugin.wasm", 0, size="-1"),
        head("other", 0, size="-1536"),
        gnu_sparse(-5, (0, 8)),
        gnu_sparse(600, (-ENDLESS, ENDLESS), (0, 500)),
        gnu_sparse(600, (-512, 512), (0, 500), (500, 2)),
        head("plugin.wasm", 2000) + MODULE,
        head("x", -512, kind=tarfile.XHDTYPE),
    ],
    ids=["negative", "backwards", "negative sparse", "far away", "before", "ends early", "negative records"],
)
def test_sizes_that_are_lies(read: Callable[[bytes], bytes], tar: bytes) -> None:
    """A size or place that cannot be is refused, and followed neither back nor beyond the end."""
    with pytest.raises(Refused) as refused:
        read(tar + END)
    assert refused.value.reason in ("MalformedLayer", "ArtifactTooLarge", "NoModule", "NoPluginWasm")


@USERS
def test_a_sparse_module(read: Callable[[bytes], bytes]) -> None:
    """A sparse file within bounds is read with its holes as zeros, as the agent reads it."""
    assert read(gnu_sparse(1000, (0, 8), (900, 4)) + END) == MODULE[:8] + bytes(892) + MODULE[8:12] + bytes(96)
    assert read(pax_sparse(600) + END) == MODULE[:8] + bytes(592)


@USERS
def test_global_records_name_nothing(read: Callable[[bytes], bytes]) -> None:
    """Records for the whole archive do not rename a file, as the agent's reader has it."""
    records = tarfile.TarInfo.create_pax_global_header({"path": "app/other.wasm", "size": "4"})
    assert read(records + head("plugin.wasm", len(MODULE)) + padded(MODULE) + END) == MODULE


def test_several_files_share_the_bound() -> None:
    """Many members, each of them within the bound, do not expand to more than it together."""
    tar = b"".join(gnu_sparse(MIB // 4, (0, 8), name=f"{number}.wasm") for number in range(5))
    with pytest.raises(Refused) as refused:
        take(tar + END)
    assert refused.value.reason == "ArtifactTooLarge"


def test_the_number_of_members() -> None:
    """Empty files count, too."""
    stream = ArchiveStream([head(f"f{number}", 0) for number in range(archive.MAX_MEMBERS + 1)], 1 << 30)
    with pytest.raises(TooManyMembers):
        list(archive.members(stream))


def test_a_stream_is_as_long_as_allowed_and_no_longer() -> None:
    """What pieces together are too long is refused when the bound is reached, whether read, skipped or peeked at."""
    assert ArchiveStream([b"abc", b"def"], 6).read(10) == b"abcdef"
    stream = ArchiveStream([b"abc", b"def"], 6)
    assert (stream.peek(4), stream.read(2), stream.seek(5), stream.read(9), stream.peek(1)) == (
        b"abcd",
        b"ab",
        5,
        b"f",
        b"",
    )
    for act in (lambda it: it.read(6), lambda it: it.seek(6), lambda it: it.peek(6)):
        with pytest.raises(TooLarge):
            act(ArchiveStream([b"abc", b"def"], 5))
    with pytest.raises(Malformed):
        stream.seek(1)


def test_pieces_of_any_length() -> None:
    """How the archive is cut into pieces changes nothing."""
    tar = head("a/" * 80 + "plugin.wasm", len(MODULE)) + padded(MODULE) + END
    for length in (1, 100, 511, 512, 513, 5000):
        pieces = [tar[at : at + length] for at in range(0, len(tar), length)]
        [member] = archive.members(ArchiveStream(pieces, MIB))
        assert (member.name, member.regular) == ("a/" * 80 + "plugin.wasm", True)
    [content] = [member.read(MIB) for member in archive.members(ArchiveStream(io.BytesIO(tar), MIB))]
    assert content == MODULE
