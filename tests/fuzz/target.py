"""What is fuzzed: strange bytes in, an answer or a refusal out, never another exception."""

from __future__ import annotations

import functools
import gzip

from pluginrelease.core import compat, wasm
from pluginrelease.core.artifact import image_manifests, packing, salvage
from pluginrelease.core.compat import gateway_versions
from pluginrelease.core.errors import Refused
from tests import odd_modules, tars
from tests import wasm_modules as made

MEANT = [host for text in ("istio@1.24", "istio@1.31", "higress@2.2") for host in gateway_versions.read(text).hosts]
MOST = 1 << 20
MOST_OF_A_SEED = 2_000
ARCHIVE = packing.pack(made.plugin("0_2_1")).layer
MANIFEST = packing.pack(made.plugin("0_2_1")).manifest


@functools.cache
def seeds() -> list[bytes]:
    """Inputs to begin with: the first byte chooses what is done with the rest."""
    modules = [
        made.plugin("0_2_1", imports=[("env", "proxy_log"), ("wasi_snapshot_preview1", "fd_write")]),
        made.answering("a"),
        made.traps_on_request(),
        made.component(),
        made.truncated(),
    ]
    modules += [small for odd in odd_modules.ALL if len(small := odd.make()) < MOST_OF_A_SEED]
    sparse = [tars.gnu_sparse(2000, (0, 8)) + tars.END, tars.pax_sparse(2000) + tars.END]
    layers = [ARCHIVE, *map(gzip.compress, sparse)]
    seeds = [b"\0" + seed for seed in modules] + [b"\1" + seed for seed in layers]
    return [*seeds, b"\2" + MANIFEST, b"\3" + ARCHIVE, *(b"\3" + seed for seed in sparse)]


def one(data: bytes) -> None:
    """One input. Whatever leaves this but nothing is a finding."""
    what, rest = data[:1], data[1:]
    try:
        if what == b"\1":
            assert len(image_manifests.extract(rest, MOST)) <= MOST
        elif what == b"\2":
            manifest(rest)
        elif what == b"\3":
            assert len(salvage.find_module(MANIFEST, lambda layer: rest, MOST)) <= MOST
        else:
            module(rest)
    except Refused as refused:
        check(refused)


def module(data: bytes) -> None:
    """Read, and compared with gateways."""
    read = wasm.read(data)
    for answer in (*compat.compare(read, MEANT[:2]), *compat.compare(read, MEANT[2:]), *compat.compare(read, ())):
        assert len(answer.sentence()) < 4000, answer.reason
        assert answer.sentence().isprintable(), answer.reason
    for odd in (
        *compat.find_warnings(read, MEANT[:2]),
        *compat.find_warnings(read, MEANT[2:], "Higress", allow_native=True),
    ):
        assert len(str(odd)) < 4000, odd.reason
        assert str(odd).isprintable(), odd.reason


def manifest(data: bytes) -> None:
    """Each way to read a manifest; one that refuses does not keep the next from being tried."""
    for read in (
        image_manifests.find_layer,
        image_manifests.find_child,
        image_manifests.list_children,
        image_manifests.list_layers,
        salvage.find_child,
    ):
        try:
            read(data)
        except Refused as refused:
            check(refused)


def check(refused: Refused) -> None:
    """A refusal is short, can be printed and says what to do."""
    assert refused.remedy, refused
    assert len(refused.sentence()) < 4000, refused.reason
    assert refused.sentence().isprintable(), refused.reason
