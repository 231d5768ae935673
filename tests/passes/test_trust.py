"""What gateways make of a registry's transport, and what the operator said of it before: real agents, real TLS."""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from pluginrelease_lab.registries import REALM
from tests import wasm_modules
from tests.harness import gateways, registries
from tests.harness.cluster import LabCluster, conditions, ready, unique
from tests.passes.test_ownership import restart

PLAIN_HTTP = "fetching image with plain text from"  # words of Istio's agent

JSON = dict[str, Any]
NAMESPACE = "trusting"
OWN_AUTHORITY = Path(__file__).parents[1] / "fixtures" / "tls" / "lab-registry.pem"  # for 10.244.0.1; worth nothing
# the registry's address as no agent takes for local (google/go-containerregistry, pkg/name/registry.go)
NOT_LOCAL = f"[::ffff:af4:1]:{registries.PORT}"


@pytest.fixture
def stranger(cluster: LabCluster) -> str:
    """A gateway that was told nothing of any registry, in a namespace that no test before has left half deleted."""
    cluster.lab.kubectl("wait", "--for=delete", f"namespace/{NAMESPACE}", "--timeout=60s", timeout=90)
    for manifest in gateways.manifests(NAMESPACE, 1):
        if manifest["kind"] == "Deployment":
            [container] = manifest["spec"]["template"]["spec"]["containers"]
            del container["env"]
        cluster.apply(manifest)
    rolled_out(cluster)
    return NAMESPACE


def rolled_out(cluster: LabCluster) -> None:
    """The Deployment's newest pod is the only one, and ready."""
    cluster.lab.kubectl("rollout", "status", f"deployment/{NAMESPACE}", "-n", NAMESPACE, "--timeout=120s", timeout=150)
    deadline = time.monotonic() + 60
    while len(cluster.gateways(NAMESPACE)) != 1:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def told(cluster: LabCluster, *settings: str) -> None:
    """The gateways are started anew with these variables."""
    cluster.lab.kubectl("set", "env", f"deployment/{NAMESPACE}", "-n", NAMESPACE, *settings)
    rolled_out(cluster)


def release(cluster: LabCluster, name: str, image: JSON, **plugin: Any) -> JSON:
    """A release for the gateways of this namespace."""
    gateway = {"provider": "Istio", "namespace": NAMESPACE, "selector": {"matchLabels": {"istio": NAMESPACE}}}
    return cluster.manifest(
        name, "", namespace=NAMESPACE, artifact={"image": image}, gateway=gateway, plugin={"phase": "AUTHN", **plugin}
    )


def served_by(cluster: LabCluster) -> str | None:
    """The plugin that answers."""
    [pod] = cluster.gateways(NAMESPACE)
    return cluster.lab.request(pod.address, 8080, "/", {}).headers.get("x-plugin")


def logged(cluster: LabCluster, words: str) -> str:
    """The first line of the gateways' log with these words, as soon as there is one."""
    deadline = time.monotonic() + 60
    while True:
        text = cluster.lab.kubectl("logs", "-n", NAMESPACE, f"deployment/{NAMESPACE}", "-c", "istio-proxy")
        for line in text.splitlines():
            if words in line:
                return line
        assert time.monotonic() < deadline, text[-3000:]
        time.sleep(0.5)


def test_plain_http_needs_no_setting(cluster: LabCluster, registry: registries.Registry, stranger: str) -> None:
    """A registry without TLS that is no local one: a gateway without WASM_INSECURE_REGISTRIES asks by https, is told,
    and goes on by http; the operator had said that it would."""
    name = unique("plain")
    pushed = registry.push(wasm_modules.answering(name), name)
    ref = pushed.replace(registry.host, NOT_LOCAL)
    cluster.apply(release(cluster, name, {"ref": ref, "insecure": True}))
    there = cluster.await_ready(name, namespace=stranger)
    assert conditions(there)["Compatible"]["status"] == "True"
    assert served_by(cluster) == name
    assert PLAIN_HTTP in logged(cluster, PLAIN_HTTP)


def test_a_private_registry_with_an_authority_of_its_own(
    cluster: LabCluster, registry: registries.Registry, stranger: str, tmp_path: Path
) -> None:
    """The operator trusts the release's caSecretRef. Gateways that were not told of the authority would not: that is
    refused before anything is written, in the words of a gateway that was made to try. Told of it, or not to check,
    they load the plugin. An operator that starts anew pulls nothing for a second release of the image, and still asks
    with the credentials. No secret is anywhere."""
    name, lab = unique("own-authority"), cluster.lab
    ref = registry.push(wasm_modules.answering(name), name)
    registry.stop()
    registry.realm, registry.tls = REALM, OWN_AUTHORITY
    registry.start()
    cluster.apply(registries.pull_secret("keys", stranger, registry.host, lab.private_credentials))
    authority = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "authority", "namespace": stranger}}
    cluster.apply({**authority, "type": "Opaque", "stringData": {"ca.crt": OWN_AUTHORITY.read_text()}})
    image = {"ref": ref, "pullSecretRef": {"name": "keys"}, "caSecretRef": {"name": "authority"}}

    bare = spec_by_hand(ref)
    cluster.apply(bare)
    line = logged(cluster, "failed to verify certificate")
    cluster.delete("wasmplugin", stranger, bare["metadata"]["name"])

    cluster.apply(release(cluster, name, image))
    refused = cluster.await_reason(name, "RegistryNotAcceptedByGateway", namespace=stranger)
    said = re.search(r"tls: failed to verify certificate: x509: certificate signed by unknown authority", line)
    assert said is not None, line
    assert said[0] in ready(refused)["message"]
    assert cluster.gateways(stranger)[0].name in ready(refused)["message"]
    assert lab.kubectl("get", "wasmplugin", "-n", stranger, "-o", "name") == ""

    certificate = tmp_path / "authority.pem"
    certificate.write_text(OWN_AUTHORITY.read_text())
    told(cluster, f"SSL_CERT_FILE={certificate}")
    there = cluster.await_ready(name, namespace=stranger)
    assert conditions(there)["Compatible"]["reason"] == "RegistryTrustUnknown"
    assert "SSL_CERT_FILE" in conditions(there)["Compatible"]["message"]
    assert served_by(cluster) == name

    told(cluster, "SSL_CERT_FILE-", f"WASM_INSECURE_REGISTRIES={registry.host}")
    cluster.await_release(name, lambda it: it["status"]["summary"]["pods"] == "1/1", namespace=stranger)
    assert served_by(cluster) == name

    assert len(registry.asked("pluginrelease", "GET", "/blobs/")) == 1, "fetched once, and seen in the log"
    restart(cluster.operator)
    second = unique("own-authority")
    cluster.apply(release(cluster, second, image, phase="AUTHZ"))
    cluster.await_ready(second, namespace=stranger)
    anonymous = unique("own-authority")
    cluster.apply(release(cluster, anonymous, {key: image[key] for key in ("ref", "caSecretRef")}, phase="STATS"))
    cluster.await_reason(anonymous, "AuthenticationRequired", namespace=stranger)
    assert len(registry.asked("pluginrelease", "GET", "/blobs/")) == 1, "what is kept on disk is not fetched again"
    no_secret_is_anywhere(cluster, (name, second, anonymous))


def spec_by_hand(ref: str) -> JSON:
    """A WasmPlugin as somebody writes it."""
    return {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": unique("by-hand"), "namespace": NAMESPACE},
        "spec": {"selector": {"matchLabels": {"istio": NAMESPACE}}, "url": f"oci://{ref}", "imagePullSecret": "keys"},
    }


def no_secret_is_anywhere(cluster: LabCluster, names: tuple[str, ...]) -> None:
    """User and password, in any form, and the key that somebody put beside the authority, are in nothing that the
    operator writes: log, status, events, other objects, command line, environment, files."""
    user, password = cluster.lab.private_credentials
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    [key] = re.findall(r"BEGIN PRIVATE KEY-----\n(.{40})", OWN_AUTHORITY.read_text())
    planted = [password, auth, base64.b64encode(auth.encode()).decode()[:40], key]
    assert cluster.operator.process is not None
    process = Path(f"/proc/{cluster.operator.process.pid}")
    told_by_api = cluster.lab.kubectl("get", "prel,wasmplugin,controllerrevision,event", "-A", "-o", "json")
    assert all(name in told_by_api for name in names)
    texts = {"the API server": told_by_api.encode(), "the log": cluster.operator.log.read_bytes()}
    texts |= {name: (process / name).read_bytes() for name in ("cmdline", "environ")}
    files = [path for path in (cluster.lab.state / "operator-cache").rglob("*") if path.is_file()]
    assert files
    texts |= {str(path): path.read_bytes() for path in files}
    found = [(place, secret[:4]) for place, text in texts.items() for secret in planted if secret.encode() in text]
    assert found == []
    assert json.loads(told_by_api)["items"]
