"""Two teams on the same gateways: neither reaches the other's Secret, credential, object or gateway by any name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pluginrelease import api
from tests import wasm_modules
from tests.harness import registries
from tests.harness.cluster import GATEWAY_NAMESPACE, JSON, LAB_GATEWAY, LabCluster, unique


@pytest.fixture
def teams(cluster: LabCluster) -> Iterator[tuple[str, str]]:
    """Two namespaces, the second of which is called like the first with the beginning of a release's name; both may."""
    first = unique("tenant")
    names = (first, f"{first}-a")
    for name in names:
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    allow(cluster, ",".join(names))
    yield names
    cluster.clean_up()
    cluster.lab.kubectl("annotate", "namespace", GATEWAY_NAMESPACE, f"{api.ALLOWED_NAMESPACES_ANNOTATION}-")


def allow(cluster: LabCluster, names: str) -> None:
    consent = f"{api.ALLOWED_NAMESPACES_ANNOTATION}={names}"
    cluster.lab.kubectl("annotate", "namespace", GATEWAY_NAMESPACE, consent, "--overwrite")


def private(cluster: LabCluster, scratch: Path, namespace: str, name: str, priority: int, login: str = "login") -> JSON:
    """A release from the private registry, with the Secret of this name in its namespace."""
    word = f"{namespace}-{name}-{priority}"
    module = scratch / f"{word}.wasm"
    module.write_bytes(wasm_modules.answering(word))
    ref = registries.push_private(cluster.lab, module, f"tests/{word}:1.0")
    image = {"ref": ref, "insecure": True, "pullSecretRef": {"name": login}}
    return cluster.manifest(
        name, ref, namespace=namespace, artifact={"image": image}, plugin={"phase": "AUTHN", "priority": priority}
    )


def written(release: JSON) -> str:
    """The name of its one object."""
    [row] = release["status"]["gateways"]
    return str(row["object"]["name"])


def test_names_that_collide_reach_nothing_of_each_other(
    cluster: LabCluster, tmp_path: Path, teams: tuple[str, str]
) -> None:
    """``tenant/a-b`` and ``tenant-a/b`` have an object and a copied Secret each; the end of one leaves the other's."""
    lab, (first, second) = cluster.lab, teams
    for team in teams:
        cluster.apply(registries.pull_secret("login", team, lab.private_registry, lab.private_credentials))
    cluster.apply(private(cluster, tmp_path, first, "a-b", 20))
    cluster.apply(private(cluster, tmp_path, second, "b", 10))
    one, other = cluster.await_ready("a-b", namespace=first), cluster.await_ready("b", namespace=second)
    assert written(one) != written(other)
    cluster.delete("prel", first, "a-b")
    assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, written(one)) is None
    assert cluster.get("secret", GATEWAY_NAMESPACE, f"{written(one)}-pull") is None
    assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, written(other)) is not None
    assert cluster.get("secret", GATEWAY_NAMESPACE, f"{written(other)}-pull") is not None


def test_what_another_team_has_cannot_be_named(cluster: LabCluster, tmp_path: Path, teams: tuple[str, str]) -> None:
    """Another team's Secret is not found by its name, nor its copy at the gateways; its object is not taken over; its
    gateways' namespace refuses."""
    lab, (first, second) = cluster.lab, teams
    cluster.apply(registries.pull_secret("login", first, lab.private_registry, lab.private_credentials))
    cluster.apply(private(cluster, tmp_path, first, "mine", 20))
    theirs = cluster.await_ready("mine", namespace=first)
    before = cluster.get("wasmplugin", GATEWAY_NAMESPACE, written(theirs))

    for login in ("login", f"{written(theirs)}-pull"):
        name = unique("thief")
        cluster.apply(private(cluster, tmp_path, second, name, 5, login=login))
        cluster.await_reason(name, "PullSecretNotFound", namespace=second)

    ref = cluster.push(wasm_modules.answering("thief"), tmp_path)
    gateway = {**LAB_GATEWAY, "objectName": written(theirs)}
    grab = cluster.manifest("grab", ref, namespace=second, gateway=gateway, plugin={"phase": "AUTHN", "priority": 4})
    cluster.apply(grab)
    cluster.await_reason("grab", "ObjectNotOurs", namespace=second)
    after = cluster.get("wasmplugin", GATEWAY_NAMESPACE, written(theirs))
    assert before is not None
    assert after is not None
    assert (before["metadata"]["uid"], before["spec"]) == (after["metadata"]["uid"], after["spec"])

    allow(cluster, first)
    cluster.apply(cluster.manifest("late", ref, namespace=second))
    cluster.await_reason("late", "NamespaceNotAllowed", namespace=second)
