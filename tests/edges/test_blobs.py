"""What was fetched is kept: for whom, for how long, and what comes of it when something goes wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pluginrelease.controller.artifacts import ArtifactCache, PulledArtifact
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.image_manifests import Digest, Reference
from pluginrelease.core.errors import Refused, Transient
from pluginrelease.edges.oci import blobs
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.oci.blobs import Blobs
from tests.edges.scripted import IMAGE, Request, Scripted, ScriptedAnswer, good

CHECKOUT = Path(__file__).parents[2]
PLACE = image_manifests.parse("registry.example.com/team/plugin:1")
OPEN = Access(insecure=True, deadline_seconds=20)


@pytest.fixture
def kept(tmp_path: Path) -> Blobs:
    one = Blobs(tmp_path, 1500)
    one.prepare()
    return one


def put(store: Blobs, content: bytes, place: Reference = PLACE) -> Digest:
    with store.receive() as incoming:
        incoming.write(content)
        incoming.done()
        incoming.keep(place)
    return Digest.of(content)


def read(store: Blobs, digest: Digest, place: Reference = PLACE) -> bytes | None:
    file = store.find(place, digest)
    if file is None:
        return None
    with file:
        return file.read()


def files(store: Blobs) -> list[Path]:
    return [path for path in store.location.iterdir() if path.name != blobs.LOCK]


def obtain(shelf: ArtifactCache, reference: Reference, access: Access = OPEN) -> PulledArtifact:
    return asyncio.run(shelf.obtain(reference, access))


# --- a release's pull ---


def test_a_restart_fetches_nothing(scripted: Callable[..., Scripted], tmp_path: Path) -> None:
    """After a restart the registry is asked for the manifest, and the layer is there."""
    server, store = scripted(good), Blobs(tmp_path, 1024**2)
    first = obtain(ArtifactCache(blobs=store), server.reference())
    again = obtain(ArtifactCache(blobs=store), server.reference())
    assert again == first
    assert server.asked("/blobs/") == 1
    assert server.asked("/manifests/") == 4


def with_password(host: str, password: str) -> Access:
    auth = base64.b64encode(f"tester:{password}".encode()).decode()
    return Access(True, json.dumps({"auths": {host: {"auth": auth}}}).encode(), 20)


def test_what_is_kept_serves_nobody_without_the_secret(scripted: Callable[..., Scripted], tmp_path: Path) -> None:
    """A private module that one release has fetched is not given to another without its own credentials for it."""

    def script(asked: Request) -> ScriptedAnswer:
        if asked.headers.get("Authorization") != "Basic " + base64.b64encode(b"tester:right").decode():
            return ScriptedAnswer(401, b"", {"WWW-Authenticate": 'Basic realm="https://registry.example.com/"'})
        return good(asked)

    server, shelf = scripted(script), ArtifactCache(blobs=Blobs(tmp_path, 1024**2))
    reference = server.reference(f"team/plugin@{IMAGE.digest}")
    obtain(shelf, reference, with_password(server.host, "right"))
    for access, reason in (
        (with_password(server.host, "wrong"), "AuthenticationFailed"),
        (OPEN, "AuthenticationRequired"),
    ):
        with pytest.raises(Refused) as refused:
            obtain(shelf, reference, access)
        assert refused.value.reason == reason
    assert obtain(ArtifactCache(blobs=shelf.blobs), reference, with_password(server.host, "right"))
    assert server.asked("/blobs/") == 1


def test_another_repository_has_its_own(scripted: Callable[..., Scripted], tmp_path: Path) -> None:
    """Who may read one repository is not shown what came from another, even where a manifest names its digest."""
    server, store = scripted(good), Blobs(tmp_path, 1024**2)
    for name in ("team/plugin:1", "thief/plugin:1"):
        obtain(ArtifactCache(blobs=store), server.reference(name))
    assert server.asked("/team/plugin/blobs/") == server.asked("/thief/plugin/blobs/") == 1


def test_one_image_is_pulled_once_at_a_time(scripted: Callable[..., Scripted], tmp_path: Path) -> None:
    """Ten releases of one image at once, each with credentials of its own, fetch its layer once."""
    server = scripted(good)
    shelf = ArtifactCache(blobs=Blobs(tmp_path, 1024**2))

    async def all_at_once() -> None:
        accesses = [with_password(server.host, f"p{number}") for number in range(10)]
        await asyncio.gather(*(shelf.obtain(server.reference(), access) for access in accesses))

    asyncio.run(all_at_once())
    assert server.asked("/blobs/") == 1


def test_a_refusal_that_may_heal_is_asked_again(scripted: Callable[..., Scripted]) -> None:
    """What a registry refuses is asked again; what is wrong with the bytes is not."""
    denied = {"once": True}

    def script(asked: Request) -> ScriptedAnswer:
        return ScriptedAnswer(403) if denied.pop("once", False) else good(asked)

    server, shelf = scripted(script), ArtifactCache()
    reference = server.reference(f"team/plugin@{IMAGE.digest}")
    with pytest.raises(Refused):
        obtain(shelf, reference)
    assert obtain(shelf, reference).artifact.digest == IMAGE.digest

    manifest = b'{"layers":[]}'
    empty = scripted(lambda _: ScriptedAnswer(200, manifest, {"Content-Type": image_manifests.OCI_MANIFEST}))
    for _ in range(2):
        with pytest.raises(Refused, match="layers"):
            obtain(shelf, empty.reference(f"team/plugin@{Digest.of(manifest)}"))
    assert len(empty.seen) == 1


@pytest.mark.parametrize("name", ["team/plugin:1", f"team/plugin@{IMAGE.digest}"])
def test_only_allowed_registries_are_asked(scripted: Callable[..., Scripted], name: str) -> None:
    """A registry that is not on the operator's list is not even asked."""
    server = scripted(good)
    with pytest.raises(Refused) as refused:
        obtain(ArtifactCache(allowed=("ghcr.io/team",)), server.reference(name))
    assert refused.value.reason == "RegistryNotAllowed"
    assert "ghcr.io/team" in refused.value.message
    assert not server.seen
    assert obtain(ArtifactCache(allowed=("ghcr.io", f"{server.host}/team")), server.reference(name))


def test_no_more_at_once_than_allowed(scripted: Callable[..., Scripted]) -> None:
    """The bound on all pulls holds over many registries: others wait until one of them has ended."""
    open_again = threading.Event()

    async def ask_all() -> None:
        loop, arrived = asyncio.get_running_loop(), asyncio.Semaphore(0)

        def hold(asked: Request) -> ScriptedAnswer:
            loop.call_soon_threadsafe(arrived.release)
            open_again.wait(20)
            return good(asked)

        servers, free = [scripted(hold) for _ in range(4)], scripted(good)
        shelf = ArtifactCache(parallel_in_all=2)
        asking = [asyncio.create_task(shelf.ask(server.reference(), OPEN)) for server in servers]
        await arrived.acquire()
        await arrived.acquire()
        for _ in range(5):  # somebody else's pulls, as long as which the others could have come
            await ArtifactCache().ask(free.reference(), OPEN)
        assert sum(len(server.seen) for server in servers) == 2
        open_again.set()
        await asyncio.gather(*asking)
        assert sum(len(server.seen) for server in servers) == 4

    asyncio.run(ask_all())


# --- the folder ---


def test_the_oldest_goes_first(kept: Blobs) -> None:
    """What was used longest ago makes room; all of it together stays below the limit."""
    old, used, new = (bytes([number]) * 400 for number in range(3))
    first, second = put(kept, old), put(kept, used)
    for number, digest in enumerate((second, first)):  # the file system's clock may be coarse
        [path] = [path for path in files(kept) if digest.hex in path.name]
        os.utime(path, ns=(number, number))
    assert read(kept, second) == used  # used just now
    third = put(kept, new)
    assert (read(kept, first), read(kept, second), read(kept, third)) == (None, used, new)
    assert sum(path.stat().st_size for path in files(kept)) <= kept.most_bytes


def test_what_does_not_fit_is_told(kept: Blobs) -> None:
    """More than the limit at once is not written, and says which setting is too small."""
    put(kept, b"a" * 400)
    with pytest.raises(Transient) as told:
        put(kept, b"b" * 1501)
    assert told.value.reason == "CacheUnavailable"
    assert "--cache-size" in told.value.remedy
    with kept.receive() as one:
        one.write(b"c" * 1000)
        with pytest.raises(Transient):
            put(kept, b"d" * 100)
    assert files(kept) == []


def test_damaged_bytes_are_not_used(kept: Blobs) -> None:
    """A file whose bytes are not those of its name is taken away, as if it had never been there."""
    digest = put(kept, b"module")
    [path] = files(kept)
    path.write_bytes(b"modulo")
    assert read(kept, digest) is None
    assert files(kept) == []


def test_nothing_half_written_stays(kept: Blobs) -> None:
    """A pull that fails leaves nothing; what a killed operator left is taken away by the next one to write."""
    with kept.receive() as incoming:
        incoming.write(b"half")
    assert files(kept) == []
    program = (
        "import os, sys; from pathlib import Path; from pluginrelease.edges.oci.blobs import Blobs\n"
        "with Blobs(Path(sys.argv[1]), 1024).receive() as incoming:\n"
        "    incoming.write(b'half'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program, kept.folder], cwd=CHECKOUT, check=False, timeout=60)
    assert len(files(kept)) == 1
    put(kept, b"whole")
    assert len(files(kept)) == 1


def test_one_that_is_being_written_is_left_alone(kept: Blobs) -> None:
    """Another process's half-written file is no leftover as long as that process lives."""
    with kept.receive() as incoming:
        incoming.write(b"one")
        put(Blobs(kept.folder, kept.most_bytes), b"two")
        incoming.done()
        incoming.keep(PLACE)
    assert read(kept, Digest.of(b"one")) == b"one"


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    """A link to another place is refused, and the folder is open to nobody else."""
    own = Blobs(tmp_path / "own", 1024)
    own.prepare()
    assert own.location.stat().st_mode & 0o077 == 0
    (tmp_path / "led").mkdir()
    (tmp_path / "led" / blobs.FOLDER).symlink_to(tmp_path / "own")
    with pytest.raises(Transient) as told:
        Blobs(tmp_path / "led", 1024).prepare()
    assert told.value.reason == "CacheUnavailable"
