"""Whose objects are whose: other namespaces, pull secrets that are copied, objects of somebody else."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.core.artifact import image_manifests
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease_lab import Lab
from tests import wasm_modules
from tests.harness import evidence
from tests.harness.cluster import GATEWAY_NAMESPACE, LabCluster, Operator, conditions, is_ready, ready, unique

JSON = dict[str, Any]

ROOT_NAMESPACE = "istio-system"
QUICK = "3s"
CUSTOM_SECTION = b"\0\3\2ab"


@pytest.fixture
def team(cluster: LabCluster) -> Iterator[str]:
    """A namespace without gateways, which no other test uses; nothing that it was allowed stays."""
    name = unique("team")
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    withdraw(cluster.lab)


def withdraw(lab: Lab) -> None:
    """Takes the annotation off the gateways' namespace."""
    lab.kubectl("annotate", "namespace", GATEWAY_NAMESPACE, f"{api.ALLOWED_NAMESPACES_ANNOTATION}-")


# --------------------------------------------------------------------------------------------- another namespace


def test_a_release_of_another_namespace(
    cluster: LabCluster, team: str, built: Callable[[str], Path], tmp_path: Path
) -> None:
    """It goes where it is allowed and no further, and what it makes there is its own and goes with it.

    Refused until the gateways' namespace allows it, by the very command that the refusal names, and then at once. What
    is written is named after both namespace and release, carries the release's uid, and has no owner reference, as the
    garbage collector would take it. The gateways pull from the private registry with a copy of the secret, which
    follows the original and is removed with the release, also when the leave was withdrawn before.
    """
    name, lab = unique("abroad"), cluster.lab
    ref = push_private(lab, built("versioned"))
    cluster.apply(pull_secret(lab, team))
    manifest = cluster.manifest(name, ref, namespace=team, plugin={"config": {"version": "private"}})
    manifest["spec"]["artifact"]["image"]["pullSecretRef"] = {"name": "keys"}
    cluster.apply(manifest)
    refused = cluster.await_reason(name, "NamespaceNotAllowed", namespace=team)
    assert "Stalled" in conditions(refused)
    assert not copies(cluster, refused)
    command = re.search(r"kubectl (annotate namespace \S+ \S+)", ready(refused)["message"])
    assert command is not None

    lab.kubectl(*command[1].split())
    release = cluster.await_ready(name, namespace=team, seconds=150)
    assert [headers.get("x-plugin-version") for _, headers, _ in cluster.answers()] == ["private", "private"]
    plugin, secret = copies(cluster, release)
    assert re.fullmatch(f"{team}-{name}-public-[0-9a-f]{{10}}", plugin["metadata"]["name"])
    assert secret["metadata"]["name"] == plugin["spec"]["imagePullSecret"] == f"{plugin['metadata']['name']}-pull"
    for thing in (plugin, secret):
        assert thing["metadata"]["annotations"][api.RELEASE_ANNOTATION] == f"{team}/{name}"
        assert "ownerReferences" not in thing["metadata"]

    follows_the_secret(cluster, team, secret)
    nothing_more_without_leave(cluster, manifest, release)
    cluster.delete("prel", team, name)
    assert not copies(cluster, release)
    cluster.await_answers(lambda _status, headers, _body: "x-plugin-version" not in headers)


def test_a_key_of_several_lines(cluster: LabCluster, built: Callable[[str], Path]) -> None:
    """The Secret that kubectl makes of a key file, as Google's registries want it, lets operator and gateways in."""
    name, lab = unique("key"), cluster.lab
    user, key = lab.key_credentials
    server, account = f"--docker-server={lab.private_registry}", f"--docker-username={user}"
    into = ("-n", GATEWAY_NAMESPACE)
    lab.kubectl("create", "secret", "docker-registry", name, *into, server, account, f"--docker-password={key}")
    manifest = cluster.manifest(name, push_private(lab, built("versioned")), plugin={"config": {"version": name}})
    manifest["spec"]["artifact"]["image"]["pullSecretRef"] = {"name": name}
    try:
        cluster.apply(manifest)
        cluster.await_ready(name)
        assert {headers.get("x-plugin-version") for _, headers, _ in cluster.answers()} == {name}
    finally:
        cluster.delete("prel", GATEWAY_NAMESPACE, name)
        lab.kubectl("delete", "secret", name, *into)


def copies(cluster: LabCluster, release: JSON) -> list[JSON]:
    """What is in the gateways' namespace with the release's uid: the WasmPlugin, then the secret."""
    label = f"{api.UID_LABEL}={release['metadata']['uid']}"
    text = cluster.lab.kubectl("get", "wasmplugin,secret", "-n", GATEWAY_NAMESPACE, "-l", label, "-o", "json")
    return sorted(json.loads(text)["items"], key=lambda it: str(it["kind"]), reverse=True)


def follows_the_secret(cluster: LabCluster, team: str, copy: JSON) -> None:
    """A rotated secret is copied again, and is no new revision.

    Secrets are never watched: it is noticed at the resync, which is five minutes by default.
    """
    before = evidence.written(cluster.lab)
    restart(cluster.operator, "--resync", QUICK)
    rotated = pull_secret(cluster.lab, team, **{"registry.example.com": ("someone", "else")})
    cluster.lab.kubectl("apply", "-f", "-", stdin=json.dumps(rotated))
    name = copy["metadata"]["name"]
    evidence.until(cluster.lab, "secret", GATEWAY_NAMESPACE, name, lambda it: it["data"] == rotated["data"])
    assert evidence.written(cluster.lab) == before
    restart(cluster.operator)


def restart(operator: Operator, *arguments: str) -> None:
    """The operator anew."""
    operator.stop()
    operator.start(*arguments)


def nothing_more_without_leave(cluster: LabCluster, manifest: JSON, release: JSON) -> None:
    """A withdrawn annotation: status says so, what runs goes on running, and nothing is written any more."""
    name, team = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    withdraw(cluster.lab)
    cluster.await_reason(name, "NamespaceNotAllowed", namespace=team)
    before = copies(cluster, release)
    manifest["spec"]["plugin"] = {"config": {"version": "not allowed"}}
    cluster.apply(manifest)
    cluster.await_reason(name, "NamespaceNotAllowed", namespace=team)
    assert copies(cluster, release) == before
    assert {headers.get("x-plugin-version") for _, headers, _ in cluster.answers()} == {"private"}


def test_a_secret_that_is_there_already(
    cluster: LabCluster, team: str, built: Callable[[str], Path], tmp_path: Path
) -> None:
    """A Secret in the gateways' namespace is not read before that namespace has consented, nor after it withdrew; it
    is pulled with, named to the gateways, and neither copied nor changed nor deleted."""
    name, lab = unique("there"), cluster.lab
    ref = push_private(lab, built("versioned"))
    manifest = cluster.manifest(name, ref, namespace=team, plugin={"config": {"version": "there"}})
    manifest["spec"]["artifact"]["image"] |= {"gatewayPullSecretRef": {"name": "their-keys"}, "interval": "1s"}
    cluster.apply(manifest)
    cluster.await_reason(name, "NamespaceNotAllowed", namespace=team)
    allow = f"{api.ALLOWED_NAMESPACES_ANNOTATION}={team}"
    assert not secrets_read(lab)

    lab.kubectl("annotate", "namespace", GATEWAY_NAMESPACE, allow)
    cluster.retry(name, team)
    missing = cluster.await_reason(name, "PullSecretNotFound", namespace=team)
    assert f"gatewayPullSecretRef names Secret {GATEWAY_NAMESPACE}/their-keys" in ready(missing)["message"]
    keys = pull_secret(lab, GATEWAY_NAMESPACE)
    keys["metadata"]["name"] = "their-keys"
    before = cluster.apply(keys)
    cluster.retry(name, team)
    release = cluster.await_ready(name, namespace=team)
    assert [headers.get("x-plugin-version") for _, headers, _ in cluster.answers()] == ["there", "there"]
    [plugin] = copies(cluster, release)
    assert plugin["spec"]["imagePullSecret"] == "their-keys"

    withdraw(lab)
    cluster.await_reason(name, "NamespaceNotAllowed", namespace=team)
    asked = len(secrets_read(lab))
    restart(cluster.operator, "--resync", QUICK)
    cluster.lab.kubectl("annotate", "--overwrite", "prel", name, "-n", team, f"{api.RETRY_ANNOTATION}=1")
    cluster.await_release(name, lambda it: it["status"]["handled"].get("retry") == "1", namespace=team)
    assert len(secrets_read(lab)) == asked, "a tag that is followed is not asked for with it either"
    restart(cluster.operator)

    cluster.delete("prel", team, name)
    assert not copies(cluster, release)
    assert cluster.get("secret", GATEWAY_NAMESPACE, "their-keys") == before


def secrets_read(lab: Lab) -> list[JSON]:
    """The requests of the operator for this Secret."""
    wanted = {"resource": "secrets", "name": "their-keys"}
    return [request for request in evidence.by_operator(lab) if wanted.items() <= request.get("objectRef", {}).items()]


def push_private(lab: Lab, module: Path) -> str:
    """Pushes to the registry that wants a password; the reference as gateways know it."""
    where = f"tests/{unique('private')}:1.0"
    config = docker_config({lab.private_registry_host: lab.private_credentials})
    reference = image_manifests.parse(f"{lab.private_registry_host}/{where}")
    registry.push(reference, module, Access(insecure=True, dockerconfigjson=config))
    return f"{lab.private_registry}/{where}"


def pull_secret(lab: Lab, namespace: str, **more: tuple[str, str]) -> JSON:
    """The right credentials for the private registry, with others beside."""
    content = docker_config({lab.private_registry: lab.private_credentials, **more})
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys", "namespace": namespace},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64.b64encode(content).decode()},
    }


def docker_config(logins: dict[str, tuple[str, str]]) -> bytes:
    """A .dockerconfigjson."""
    auths = {host: {"auth": base64.b64encode(":".join(login).encode()).decode()} for host, login in logins.items()}
    return json.dumps({"auths": auths}).encode()


# --------------------------------------------------------------------------------------------- somebody else's


def test_somebody_elses_object_is_left_alone(cluster: LabCluster, tmp_path: Path) -> None:
    """A WasmPlugin of the wanted name that the release did not make stays as it is, until the entry may adopt it.

    What was adopted stays when the release is deleted.
    """
    name, ref = unique("theirs"), cluster.push(wasm_modules.plugin(), tmp_path)
    other = cluster.push(wasm_modules.plugin() + CUSTOM_SECTION, tmp_path)
    theirs = {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": name, "namespace": GATEWAY_NAMESPACE},
        "spec": {"selector": {"matchLabels": {"istio": "ingressgateway"}}, "url": f"oci://{other}"},
    }
    before = cluster.apply(theirs)
    cluster.apply(cluster.manifest(name, ref))
    refused = cluster.await_reason(name, "ObjectNotOurs")
    assert "Stalled" in conditions(refused)
    assert "adopt: true" in ready(refused)["message"]
    assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, name) == before
    assert (GATEWAY_NAMESPACE, name) not in evidence.written(cluster.lab)

    adopting = cluster.manifest(name, ref)
    adopting["spec"]["gateways"][0]["adopt"] = True
    cluster.apply(adopting)
    release = cluster.await_ready(name)
    adopted = cluster.get("wasmplugin", GATEWAY_NAMESPACE, name)
    assert adopted is not None
    assert adopted["metadata"]["uid"] == before["metadata"]["uid"]
    assert adopted["metadata"]["labels"][api.UID_LABEL] == release["metadata"]["uid"]
    assert adopted["spec"]["url"].endswith(release["status"]["artifact"]["digest"])
    cluster.delete("prel", GATEWAY_NAMESPACE, name)
    left = cluster.get("wasmplugin", GATEWAY_NAMESPACE, name)
    assert left is not None
    assert api.UID_LABEL not in left["metadata"]["labels"]


def test_an_adopted_object_is_put_back(cluster: LabCluster, tmp_path: Path) -> None:
    """The first revision over an adopted object fails: the object says what it said before, and gateways serve it."""
    name = unique("taken")
    theirs = {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": name, "namespace": GATEWAY_NAMESPACE, "labels": {"team": "edge"}},
        "spec": {
            "selector": {"matchLabels": {"istio": "ingressgateway"}},
            "url": f"oci://{cluster.push(wasm_modules.answering(name), tmp_path)}",
            "phase": "AUTHN",
        },
    }
    before = cluster.apply(theirs)
    cluster.await_answers(lambda status, headers, _: headers.get("x-plugin") == name)
    bad = cluster.push(wasm_modules.answering(f"{name}-bad", refuses_configuration=True), tmp_path)
    manifest = cluster.manifest(name, bad, plugin={"phase": "AUTHN", "config": {"fail": True}})
    manifest["spec"]["gateways"][0]["adopt"] = True
    cluster.apply(manifest)
    cluster.await_release(name, lambda it: it.get("status", {}).get("phase") == "RolledBack")
    found = cluster.get("wasmplugin", GATEWAY_NAMESPACE, name)
    assert found is not None
    assert found["spec"] == before["spec"]
    assert found["metadata"]["labels"]["team"] == "edge"
    cluster.await_answers(lambda status, headers, _: headers.get("x-plugin") == name)


def test_another_releases_object_is_never_adopted(cluster: LabCluster, tmp_path: Path) -> None:
    """`adopt: true` is for what is nobody's: an object with another release's uid is refused all the same."""
    name, ref = unique("twin"), cluster.push(wasm_modules.plugin(), tmp_path)
    theirs = {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {
            "name": name,
            "namespace": GATEWAY_NAMESPACE,
            "labels": {api.UID_LABEL: "00000000-0000-4000-8000-000000000000"},
        },
        "spec": {"selector": {"matchLabels": {"nobody": "here"}}, "url": f"oci://{ref}"},
    }
    before = cluster.apply(theirs)
    manifest = cluster.manifest(name, ref)
    manifest["spec"]["gateways"][0]["adopt"] = True
    cluster.apply(manifest)
    refused = cluster.await_reason(name, "ObjectNotOurs")
    assert "another PluginRelease" in ready(refused)["message"]
    assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, name) == before


# --------------------------------------------------------------------------------------------- Istio's root namespace


def test_the_root_namespace_reaches_all(cluster: LabCluster, tmp_path: Path) -> None:
    """A release in Istio's root namespace is Ready only when the selected pods of every namespace run it."""
    name, ref = unique("everywhere"), cluster.push(wasm_modules.plugin(), tmp_path)
    manifest = cluster.manifest(name, ref, namespace=ROOT_NAMESPACE)
    [gateway] = manifest["spec"]["gateways"]
    manifest["spec"]["gateways"] = [{**gateway, "namespace": ROOT_NAMESPACE}]
    cluster.apply(manifest)
    release = cluster.await_release(name, is_ready, namespace=ROOT_NAMESPACE)
    rows = release["status"]["pods"]
    assert {(row["namespace"], row["name"]) for row in rows} == {
        (GATEWAY_NAMESPACE, it.name) for it in cluster.gateways()
    }
