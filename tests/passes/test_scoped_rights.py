"""The operator with Roles in listed namespaces, and no right in the cluster as a whole."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pluginrelease import api
from pluginrelease_lab import Lab, operator
from pluginrelease_lab.errors import LabError
from tests import wasm_modules
from tests.harness import gateways, registries
from tests.harness.cluster import GATEWAY_NAMESPACE, JSON, LAB_GATEWAY, LabCluster, Operator, is_ready, unique

HOME = "scoped-system"
TEAM, STRANGER, ROOT = "scoped-team", "scoped-stranger", "istio-system"
VALUES = [f'watchNamespaces=["{TEAM}","{GATEWAY_NAMESPACE}"]', f'gatewayNamespaces=["{GATEWAY_NAMESPACE}"]']
FLAGS = ("--namespace", TEAM, "--namespace", GATEWAY_NAMESPACE, "--gateway-namespace", GATEWAY_NAMESPACE)
# what the API server asks for beside the verb of a request: an apply that creates, and a port-forward by a websocket
OF_A_STORE_THAT_MISSED = {("get", "pods"), ("get", "pluginreleases"), ("get", "wasmplugins")}
"""Asked only if an object is not in what is watched, or not yet."""
BESIDE = ("wasmplugins", "secrets", "controllerrevisions", "pods/portforward")


@dataclass
class ScopedOperator(Operator):
    """One with the rights of the chart for two namespaces."""

    def _run(self, more: tuple[str, ...]) -> subprocess.Popen[Any]:
        own = ("--liveness-port", "0", "--identity", "scoped", *FLAGS, *more)
        return operator.run(self.lab, *own, log=self.log, namespace=HOME)


def roles() -> list[JSON]:
    """What the chart makes for these values, but what all installs share."""
    shared = ("Deployment", "CustomResourceDefinition", "FlowSchema", "PriorityLevelConfiguration")
    return [manifest for manifest in operator.render(HOME, VALUES) if manifest["kind"] not in shared]


def apply_all(lab: Lab, manifests: list[JSON]) -> None:
    lab.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(manifests))


@pytest.fixture(scope="module")
def scoped(lab: Lab, running_operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCluster]:
    """The lab with this operator in the place of the session's; the gateways' namespace allows the team's releases."""
    running_operator.stop()
    names = (HOME, TEAM, STRANGER)
    apply_all(lab, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names])
    apply_all(lab, roles())
    allowed = f"{api.ALLOWED_NAMESPACES_ANNOTATION}={TEAM}"
    lab.kubectl("annotate", "namespace", GATEWAY_NAMESPACE, allowed, "--overwrite")
    running = ScopedOperator(lab, lab.log("scoped-operator"))
    running.start()
    yield LabCluster(lab, running)
    running.stop()
    lab.kubectl("annotate", "namespace", GATEWAY_NAMESPACE, f"{api.ALLOWED_NAMESPACES_ANNOTATION}-")
    running_operator.start()


@pytest.fixture
def cluster(scoped: LabCluster) -> Iterator[LabCluster]:
    yield scoped
    scoped.clean_up()


def release_of_team(cluster: LabCluster, name: str, scratch: Path, word: str) -> JSON:
    """A release of the team's namespace for the lab's gateways, from the private registry with its Secret. A part
    of its configuration is in a ConfigMap."""
    values = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "limits", "namespace": TEAM}}
    cluster.apply({**values, "data": {"limits.yaml": "rate: 7\n"}})
    module = scratch / f"{word}.wasm"
    module.write_bytes(wasm_modules.answering(word))
    ref = registries.push_private(cluster.lab, module, f"tests/{word}:1.0")
    image = {"ref": ref, "insecure": True, "pullSecretRef": {"name": "login"}}
    plugin = {"phase": "AUTHN", "configFrom": [{"kind": "ConfigMap", "name": "limits", "key": "limits.yaml"}]}
    spec = {"artifact": {"image": image}, "plugin": plugin, "revisionHistoryLimit": 1}
    return cluster.manifest(name, ref, namespace=TEAM, **spec)


def test_all_of_it_works_without_a_right_too_many(cluster: LabCluster, tmp_path: Path) -> None:
    """A release is loaded, another version after it, a bad one goes back, and a deletion takes all along: without one
    403. Each verb of each rule was needed for that, so that none could be left out."""
    lab, name = cluster.lab, unique("scoped")
    cluster.apply(registries.pull_secret("login", TEAM, lab.private_registry, lab.private_credentials))
    for word in (f"{name}-a", f"{name}-b", f"{name}-c"):
        cluster.apply(release_of_team(cluster, name, tmp_path, word))
        cluster.await_ready(name, namespace=TEAM)
        cluster.await_answers(lambda _status, headers, _body, word=word: headers.get("x-plugin") == word)
    bad = release_of_team(cluster, name, tmp_path, f"{name}-d")
    bad["spec"]["checks"] = {
        "probes": [{"name": "no", "port": 8080, "expect": {"status": 418}}],
        "load": {"timeout": "20s"},
    }
    cluster.apply(bad)
    cluster.await_release(name, lambda found: found["status"].get("phase") == "RolledBack", namespace=TEAM)
    cluster.delete("prel", TEAM, name)
    assert operator.forbidden(lab, HOME) == []
    assert granted() - used(lab) - {("create", resource) for resource in BESIDE} - OF_A_STORE_THAT_MISSED == set()
    said = cluster.operator.log.read_text() + lab.kubectl("get", "events", "-A", "-o", "json")
    _, password = lab.private_credentials
    assert f"{TEAM}/{name}" in said
    assert password not in said


def granted() -> set[tuple[str, str]]:
    """Verb and resource of every rule of the operator's Roles; plugins count once for both meshes."""
    account = [manifest for manifest in roles() if manifest["kind"] == "Role"]
    rules = [rule for role in account for rule in role["rules"]]
    return {(verb, resource) for rule in rules for verb in rule["verbs"] for resource in rule["resources"]}


def used(lab: Lab) -> set[tuple[str, str]]:
    """Verb and resource of every request of the operator that the API server let pass."""
    mine = f"system:serviceaccount:{HOME}:{operator.service_account(HOME)}"
    verbs = set()
    for event in operator.audited(lab, mine):
        found = event.get("objectRef") or {}
        resource = "/".join(part for part in (found.get("resource"), found.get("subresource")) if part)
        verbs.add((event["verb"], resource))
    return verbs


def test_a_namespace_out_of_reach_is_a_reason(cluster: LabCluster, tmp_path: Path) -> None:
    """A third namespace, and Istio's root namespace, are refused at their entries; the operator does not even ask."""
    lab, name = cluster.lab, unique("beyond")
    ref = cluster.push(wasm_modules.answering(name), tmp_path)
    for there, reason in ((STRANGER, "GatewayNamespaceNotWatched"), (ROOT, "RootNamespaceNotWatched")):
        entry = {**LAB_GATEWAY, "namespace": there}
        cluster.apply(cluster.manifest(f"{name}-{there}", ref, namespace=TEAM, gateway=entry))
        cluster.await_reason(f"{name}-{there}", reason, namespace=TEAM)
    assert operator.forbidden(lab, HOME) == []
    beyond = cluster.apply(
        cluster.manifest(name, ref, namespace=STRANGER, gateway={**LAB_GATEWAY, "namespace": STRANGER})
    )
    assert beyond["status"]["phase"] == "New"
    local = cluster.apply(cluster.manifest(f"{name}-local", ref))
    cluster.await_ready(local["metadata"]["name"])
    assert cluster.release(name, STRANGER)["status"]["phase"] == "New"


@pytest.mark.parametrize("verb", ["get", "create", "list"])
def test_the_account_cannot_reach_a_third_namespace(cluster: LabCluster, verb: str) -> None:
    """The API server gives the account no Secret, pod or plugin elsewhere, nor those of all namespaces."""
    lab, user = cluster.lab, f"system:serviceaccount:{HOME}:{operator.service_account(HOME)}"
    as_operator = ("--as", user, "--quiet")
    lab.kubectl("auth", "can-i", "get", "secrets", *as_operator, "-n", GATEWAY_NAMESPACE)
    for resource in ("secrets", "pods/portforward", "pods/log", "wasmplugins.extensions.istio.io", "pluginreleases"):
        for where in (["-n", STRANGER], ["-A"]):
            with pytest.raises(LabError):
                lab.kubectl("auth", "can-i", verb, resource, *as_operator, *where)


@pytest.mark.parametrize("resource", BESIDE)
def test_no_right_to_create_is_one_too_many(cluster: LabCluster, tmp_path: Path, resource: str) -> None:
    """Without one of them a new release is not Ready, and says why; with it again it goes on."""
    lab, name = cluster.lab, unique("create")
    mine = (TEAM,) if resource == "controllerrevisions" else (GATEWAY_NAMESPACE,)
    granting = [thing for thing in roles() if thing["kind"] == "Role" and may_create(thing, resource)]
    there = [thing for thing in granting if thing["metadata"]["namespace"] in mine]
    less = copy.deepcopy(there)
    for rule in (rule for role in less for rule in role["rules"]):
        if resource in rule["resources"]:
            rule["verbs"] = [verb for verb in rule["verbs"] if verb != "create"]
    apply_all(lab, less)
    try:
        cluster.apply(registries.pull_secret("login", TEAM, lab.private_registry, lab.private_credentials))
        cluster.apply(release_of_team(cluster, name, tmp_path, name))
        cluster.await_release(name, says_what_is_missing, namespace=TEAM)
        assert cluster.release(name, TEAM)["status"]["phase"] != "Ready"
    finally:
        apply_all(lab, there)
    cluster.retry(name, TEAM)
    # what was written while no gateway could be asked may stay without a proof until a gateway starts again
    goes_on = is_ready if resource != "pods/portforward" else lambda found: not says_what_is_missing(found)
    cluster.await_release(name, goes_on, namespace=TEAM)


def says_what_is_missing(found: JSON) -> bool:
    """Whether the status has the reason: no right, or for a port-forward that the gateway cannot be reached."""
    said = str(found.get("status", {}))
    return "Forbidden" in said or "PodUnreachable" in said


def may_create(role: JSON, resource: str) -> bool:
    return any(resource in rule["resources"] and "create" in rule["verbs"] for rule in role["rules"])


def test_a_role_that_is_taken_away_is_a_reason_and_no_end(cluster: LabCluster, tmp_path: Path) -> None:
    """Without its Role in the gateways' namespace the entries there say Forbidden; with it again they go on."""
    lab, name = cluster.lab, unique("role")
    [role] = [thing for thing in roles() if thing["kind"] == "Role" and thing["metadata"]["name"].endswith("-gateways")]
    lab.kubectl("delete", "role", role["metadata"]["name"], "-n", GATEWAY_NAMESPACE)
    try:
        ref = cluster.push(wasm_modules.answering(name), tmp_path)
        cluster.apply(cluster.manifest(name, ref, namespace=TEAM))
        cluster.await_reason(name, "Forbidden", namespace=TEAM)
        assert cluster.operator.process is not None
        assert cluster.operator.process.poll() is None
    finally:
        apply_all(lab, [role])
    cluster.await_release(name, is_ready, namespace=TEAM)


def test_no_log_level_is_touched_where_it_is_to_be_left(cluster: LabCluster, tmp_path: Path) -> None:
    """With --filter-logger=leave new bytes are loaded and seen, and nobody asks a gateway for another level."""
    lab, name = cluster.lab, unique("leave")
    cluster.operator.stop()
    levels = {pod.name: gateways.filter_level(lab, pod) for pod in cluster.gateways()}
    cluster.operator.start("--filter-logger", "leave")
    cluster.apply(cluster.manifest(name, cluster.push(wasm_modules.answering(name), tmp_path), namespace=TEAM))
    release = cluster.await_release(
        name, lambda found: has_said(found, "Ready", "Unknown"), namespace=TEAM, seconds=180
    )
    assert release["status"]["phase"] == "Ready"
    assert not any(noted.get("raisedLoggers") for noted in release["status"]["checkpoint"]["gateways"])
    assert {pod.name: gateways.filter_level(lab, pod) for pod in cluster.gateways()} == levels
    cluster.operator.stop()
    cluster.operator.start()


def has_said(found: JSON, *phases: str) -> bool:
    return found.get("status", {}).get("phase") in phases
