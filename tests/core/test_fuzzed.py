"""The fuzzing target in short: hypothesis on the inputs that atheris begins with, and what it found."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.test_hostile_modules import many_bodies
from tests.fuzz import target
from tests.tars import END, gnu_sparse, head


def test_the_seeds() -> None:
    """Every input to begin with is one that the target takes."""
    for seed in target.seeds():
        target.one(seed)


def archive(name: str) -> bytes:
    """A tar+gzip layer with one empty file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    return out.getvalue()


FOUND = {
    "a layer's media type steers a terminal": b'\2{"layers": [{"mediaType": "\\u001b[2J\\u0007"}]}',
    "so does a file's name": b"\1" + archive("\x1b]0;x\x07"),
    "a sparse file expands without a bound": b"\3" + gnu_sparse(64 << 20, (0, 8)) + END,
    "the map of a sparse file ends early": b"\1" + gzip.compress(gnu_sparse(600, (0, 8), more=True)[:700]),
    "skipping a file that is not there never ends": b"\1" + gzip.compress(head("other", 0, size=str(10**18)) + END),
    "a call of a reference that ends with the function": b"\0" + many_bodies(b"\2\0\x14", 1),
}


@pytest.mark.parametrize("data", FOUND.values(), ids=FOUND.keys())
def test_what_was_found(data: bytes) -> None:
    """What a run of `make fuzz` ended with or led to, or should have, is refused in words that can be printed."""
    target.one(data)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_damage_is_refused_or_read(data: st.DataObject) -> None:
    """A module, an archive or a manifest with bytes changed, dropped or doubled: an answer, or a refusal that is
    short, printable and says what to do."""
    damaged = bytearray(data.draw(st.sampled_from(target.seeds())))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(1, max(1, len(damaged) - 1)))
        damaged[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=6))
    target.one(bytes(damaged))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    """Bytes of no known kind."""
    target.one(data)
