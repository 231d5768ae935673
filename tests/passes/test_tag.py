"""A tag that is followed: what it names now is rolled out, and what failed is not tried again for being found again."""

from __future__ import annotations

from pathlib import Path

from pluginrelease.core import artifact
from pluginrelease.edges import registry
from pluginrelease.edges.registry import Access
from tests import wasm_modules
from tests.passes.world import World, is_ready, observed, ready, unique


def test_a_tag_that_moves(world: World, tmp_path: Path) -> None:
    """The tag is moved to a better image, then to a bad one: the first is rolled out, the second put back once and for
    all, until the tag moves on."""
    name = unique("followed")
    ref = world.push(wasm_modules.answering(f"{name}-1"), tmp_path)
    place = artifact.parse(ref.replace(world.lab.registry, world.lab.registry_host))

    def move_to(module: bytes) -> str:
        path = tmp_path / "moved.wasm"
        path.write_bytes(module)
        return str(registry.push(place, path, Access(insecure=True)))

    world.apply(world.manifest(name, ref, artifact={"image": {"ref": ref, "insecure": True, "interval": "2s"}}))
    world.await_ready(name)

    second = move_to(wasm_modules.answering(f"{name}-2"))
    world.await_release(name, lambda it: is_ready(it) and it["status"]["artifact"]["digest"] == second)
    world.await_answers(lambda status, headers, _: (status, headers.get("x-plugin")) == (200, f"{name}-2"))

    bad = move_to(wasm_modules.traps_at_start())
    back = world.await_release(name, lambda it: it["status"]["phase"] == "RolledBack")
    assert (observed(back), ready(back)["reason"]) == (True, "PluginRejected")
    assert back["status"]["artifact"]["digest"] == bad
    asked = back["status"]["artifact"]["askedAt"]
    still = world.await_release(name, lambda it: it["status"]["artifact"]["askedAt"] > asked)
    assert still["status"]["rollout"]["failure"] == back["status"]["rollout"]["failure"], "found again, not tried again"

    third = move_to(wasm_modules.answering(f"{name}-3"))
    world.await_release(name, lambda it: is_ready(it) and it["status"]["artifact"]["digest"] == third)
