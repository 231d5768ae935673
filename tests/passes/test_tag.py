"""A tag that is followed: what it names now is rolled out, and what failed is not tried again for being found again."""

from __future__ import annotations

from pathlib import Path

from pluginrelease.core.artifact import image_manifests
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from tests import wasm_modules
from tests.harness.cluster import JSON, LabCluster, conditions, is_ready, observed, ready, unique


def test_a_tag_that_moves(cluster: LabCluster, tmp_path: Path) -> None:
    """The tag is moved to a better image, then to a bad one: the first is rolled out, the second put back once and for
    all, until the tag moves on."""
    name = unique("followed")
    ref = cluster.push(wasm_modules.answering(f"{name}-1"), tmp_path)
    place = image_manifests.parse(ref.replace(cluster.lab.registry, cluster.lab.registry_host))

    def move_to(module: bytes) -> str:
        path = tmp_path / "moved.wasm"
        path.write_bytes(module)
        return str(registry.push(place, path, Access(insecure=True)))

    cluster.apply(cluster.manifest(name, ref, artifact={"image": {"ref": ref, "insecure": True, "interval": "2s"}}))
    cluster.await_ready(name)

    second = move_to(wasm_modules.answering(f"{name}-2"))
    cluster.await_release(name, lambda it: is_ready(it) and it["status"]["artifact"]["digest"] == second)
    cluster.await_answers(lambda status, headers, _: (status, headers.get("x-plugin")) == (200, f"{name}-2"))

    bad = move_to(wasm_modules.traps_at_start())
    back = cluster.await_release(name, lambda it: it["status"]["phase"] == "RolledBack")
    assert (observed(back), ready(back)["reason"]) == (True, "PluginRejected")
    assert back["status"]["artifact"]["digest"] == bad
    asked = back["status"]["artifact"]["askedAt"]
    still = cluster.await_release(name, lambda it: it["status"]["artifact"]["askedAt"] > asked)
    assert still["status"]["rollout"]["failure"] == back["status"]["rollout"]["failure"], "found again, not tried again"

    third = move_to(wasm_modules.answering(f"{name}-3"))
    cluster.await_release(name, lambda it: is_ready(it) and it["status"]["artifact"]["digest"] == third)


def newest(release: JSON) -> tuple[str, str]:
    """What became of the newest revision, and its digest."""
    [entry, *_] = release["status"]["history"]
    return entry["state"], entry["digest"]


def test_a_range_of_versions(cluster: LabCluster, tmp_path: Path) -> None:
    """The highest tag within the range runs, a higher one that comes is rolled out, one outside is not; one that fails
    is put back and not tried again while it is the highest; a range with nothing in it is told."""
    name = unique("ranged")
    repository = f"tests/{name}"

    def push(tag: str, module: bytes) -> str:
        path = tmp_path / f"{tag}.wasm"
        path.write_bytes(module)
        where = image_manifests.parse(f"{cluster.lab.registry_host}/{repository}:{tag}")
        return str(registry.push(where, path, Access(insecure=True)))

    ref = f"{cluster.lab.registry}/{repository}"
    image = {"ref": ref, "insecure": True, "semver": "1.x", "interval": "2s"}
    push("2.0.0", wasm_modules.answering(f"{name}-2.0.0"))
    cluster.apply(cluster.manifest(name, ref, artifact={"image": image}))
    nothing = cluster.await_reason(name, "NoMatchingTag")
    assert all(named in ready(nothing)["message"] for named in (ref, "'1.x'", "2.0.0"))

    first = push("v1.9.0", wasm_modules.answering(f"{name}-1.9.0"))
    cluster.lab.kubectl("annotate", "prel", name, "-n", "istio-ingress", "pluginrelease.io/retry=1")
    begun = cluster.await_ready(name)
    known = begun["status"]["artifact"]
    assert (known["ref"], known["digest"], known["semver"]) == (f"{ref}:v1.9.0", first, "1.x")
    assert " 1.x" in conditions(begun)["ArtifactReady"]["message"]

    push("1.10.0-rc.1", wasm_modules.answering(f"{name}-rc"))
    second = push("1.10.0", wasm_modules.answering(f"{name}-1.10.0"))
    there = cluster.await_release(name, lambda it: newest(it) == ("Stable", second))
    assert there["status"]["artifact"]["ref"] == f"{ref}:1.10.0"
    assert [entry["ref"] for entry in there["status"]["history"]] == [f"{ref}:1.10.0", f"{ref}:v1.9.0"]
    cluster.await_answers(lambda status, headers, _: (status, headers.get("x-plugin")) == (200, f"{name}-1.10.0"))

    bad = push("1.11.0", wasm_modules.traps_at_start())
    back = cluster.await_release(name, lambda it: it["status"]["phase"] == "RolledBack")
    known = back["status"]["artifact"]
    assert (known["ref"], known["digest"], ready(back)["reason"]) == (f"{ref}:1.11.0", bad, "PluginRejected")
    still = cluster.await_release(name, lambda it: it["status"]["artifact"]["askedAt"] > known["askedAt"])
    assert still["status"]["rollout"]["failure"] == back["status"]["rollout"]["failure"], "found again, not tried again"

    cluster.apply(cluster.manifest(name, ref, artifact={"image": {**image, "semver": "~1.10"}}))
    healed = cluster.await_ready(name)
    assert (healed["status"]["artifact"]["ref"], healed["status"]["artifact"]["digest"]) == (f"{ref}:1.10.0", second)
