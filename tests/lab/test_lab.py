"""The lab is what it says: a cluster that plain kubectl talks to, and gateways that are real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from pluginrelease.core.artifact import image_manifests
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease_lab import Lab, LabError
from tests import wasm_modules
from tests.lab.gateway_under_test import NAMESPACE, Edge, eventually

# words of Linux and of the kubelet
NO_ROUTE = "Network is unreachable"
NOT_FORWARDED = "error forwarding port 9999"


@pytest.fixture(scope="module")
def edge(lab: Lab) -> Iterator[Edge]:
    made = Edge(lab)
    made.apply()
    made.pod()
    yield made
    lab.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def processes_of(pod_uid: str) -> list[str]:
    """Command lines of the machine's processes that work in the pod's directory."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and pod_uid in str((process / "cwd").readlink()):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it has just ended
    return found


def test_a_request_goes_through_every_gateway_to_the_upstream_and_back(lab: Lab) -> None:
    """Method, path and headers reach the upstream; its answer comes back with 200."""
    pods = [pod for pod in lab.gateway_pods() if pod.namespace == "istio-ingress"]
    assert len(pods) == 2
    for pod in pods:
        answer = lab.request(pod.address, 8080, "/some/path?q=1", {"X-Test": "there"}, method="POST", body=b"hello")
        echoed = json.loads(answer.body)
        assert answer.status == 200
        assert (echoed["method"], echoed["path"], echoed["headers"]["x-test"]) == ("POST", "/some/path?q=1", "there")


def test_a_request_to_an_address_without_a_gateway_is_an_error_and_no_answer(lab: Lab) -> None:
    """Nobody mistakes a proxy's page for a gateway's answer."""
    with pytest.raises(OSError, match=r"answer|timed out|closed|Tunnel"):
        lab.request("10.244.99.99", 8080, timeout=5)


def test_nothing_that_runs_in_the_lab_reaches_another_network(lab: Lab) -> None:
    """There is no route out: a mistaken address costs nothing and harms nobody."""
    program = "import socket; socket.create_connection(('192.0.2.1', 80), 5)"
    run = lab.popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert NO_ROUTE in run.communicate(timeout=30)[1]


def test_a_program_of_the_host_that_is_put_into_the_lab_reaches_its_parts(lab: Lab) -> None:
    """The registry has the address inside that image references name."""
    program = f"import urllib.request; print(urllib.request.urlopen('http://{lab.registry}/v2/').status)"
    run = lab.popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert run.communicate(timeout=30)[0].strip() == "200"


def test_a_pod_that_does_not_ask_for_a_real_gateway_is_only_simulated(lab: Lab) -> None:
    """It is ready at once and costs no process: hundreds of them are cheap."""
    simulated = {"apiVersion": "v1", "spec": {"nodeName": "lab-node"}}
    lab.kubectl("run", "simulated", "--image=none", f"--overrides={json.dumps(simulated)}")
    lab.kubectl("wait", "--for=condition=Ready", "pod/simulated", "--timeout=30s")
    uid = lab.kubectl("get", "pod", "simulated", "-o", "jsonpath={.metadata.uid}")
    assert processes_of(uid) == []
    lab.kubectl("delete", "pod", "simulated")


def test_a_service_account_has_its_own_rights_and_no_more(lab: Lab) -> None:
    """RBAC is on: a token of an account without roles may not list Secrets, and the audit log says who was refused."""
    config = lab.kubeconfig_for("default", "default", outside=True)
    with pytest.raises(LabError, match="forbidden"):
        lab.kubectl("--kubeconfig", str(config), "get", "secrets")
    events = [json.loads(line) for line in lab.audit_log.read_text().splitlines()]
    refused = [event for event in events if event["responseStatus"]["code"] == 403]
    assert any(event["user"]["username"] == "system:serviceaccount:default:default" for event in refused)


def test_the_private_registry_wants_its_user(lab: Lab) -> None:
    """Without credentials it answers 401 with a realm that is no private address, with them 200."""
    url = f"http://{lab.private_registry_host}/v2/"
    refused = requests.get(url, timeout=10)
    assert refused.status_code == 401
    assert "registry.example.com" in refused.headers["WWW-Authenticate"]
    assert requests.get(url, auth=lab.private_credentials, timeout=10).status_code == 200


async def test_a_port_forward_reaches_what_listens_on_the_pods_own_loopback(edge: Edge) -> None:
    """The admin port is bound to 127.0.0.1 of the pod's network, as in a cluster; the API server leads there."""
    answer, complaint = await edge.forward(15000, b"GET /server_info HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert complaint == ""
    assert answer.startswith(b"HTTP/1.1 200 OK")


async def test_a_port_forward_to_a_port_where_nothing_listens_fails_at_once(edge: Edge) -> None:
    """An error on the second channel, not a silent stream."""
    answer, complaint = await edge.forward(9999, b"")
    assert answer == b""
    assert NOT_FORWARDED in complaint


async def test_the_pods_environment_annotations_and_labels_reach_its_real_proxy(edge: Edge) -> None:
    """What the pod says is what Envoy's node metadata says."""
    edge.kubectl("label", "pod", edge.pod().name, "track=canary")
    dump = (await edge.forward(15000, b"GET /server_info HTTP/1.1\r\nHost: localhost\r\n\r\n"))[0].decode()
    assert '"FROM_SPEC": "seen"' in dump
    assert '"FROM_ANNOTATION": "yes"' in dump
    uid = edge.kubectl("get", "pod", edge.pod().name, "-o", "jsonpath={.metadata.uid}")
    labels = edge.lab.state / "run" / "pods" / uid / "etc/istio/pod/labels"
    eventually(lambda: 'track="canary"' in labels.read_text())


async def test_kubectl_logs_follows_a_gateway(edge: Edge) -> None:
    """A line that the gateway writes now is seen now."""
    with edge.follow_logs(edge.pod()) as following:
        assert following.stdout is not None
        assert following.stdout.readline()
        await edge.forward(15000, b"POST /logging?wasm=info HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        await edge.forward(15020, b"GET /stats/prometheus HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert "Accept header" in following.stdout.readline()
        following.kill()


def test_a_gateway_pulls_a_plugin_from_the_private_registry_with_a_pull_secret(edge: Edge, tmp_path: Path) -> None:
    """The secured way: its identity by the CA, the Secret through istiod, credentials to the registry."""
    module = tmp_path / "plugin.wasm"
    module.write_bytes(wasm_modules.plugin())
    user, password = edge.lab.private_credentials
    reference = image_manifests.parse(f"{edge.lab.private_registry_host}/plugins/none:1")
    digest = registry.push(
        reference,
        module,
        Access(insecure=True, dockerconfigjson=pull_secret(edge.lab.private_registry_host, user, password)),
    )
    edge.kubectl(
        "create", "secret", "docker-registry", "pull", f"--docker-server={edge.lab.private_registry}",
        f"--docker-username={user}", f"--docker-password={password}",
    )  # fmt: skip
    edge.kubectl("apply", "-f", "-", stdin=plugin_manifest(f"oci://{edge.lab.private_registry}/plugins/none@{digest}"))
    folder = edge.lab.state / "run" / "pods" / edge.kubectl("get", "pods", "-o", "jsonpath={.items[0].metadata.uid}")
    eventually(lambda: list(folder.glob(f"data/**/*{str(digest).partition(':')[2]}*")))
    edge.kubectl("delete", "wasmplugin", "none")


def pull_secret(host: str, user: str, password: str) -> bytes:
    return json.dumps({"auths": {host: {"username": user, "password": password}}}).encode()


def plugin_manifest(url: str) -> str:
    return json.dumps(
        {
            "apiVersion": "extensions.istio.io/v1alpha1",
            "kind": "WasmPlugin",
            "metadata": {"name": "none", "namespace": NAMESPACE},
            "spec": {"selector": {"matchLabels": {"app": "edge"}}, "url": url, "imagePullSecret": "pull"},
        }
    )


async def test_a_gateway_that_ends_is_started_again_like_any_container(edge: Edge) -> None:
    """The restart is counted, the pod is ready again, and the log of the run before is kept."""
    before = edge.restarts()
    pod = edge.pod()
    await edge.forward(15000, b"POST /quitquitquit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    eventually(lambda: edge.restarts() == before + 1)
    assert edge.pod().name == pod.name
    assert "Envoy exited" in edge.kubectl("logs", "--previous", pod.name)


def test_scaling_starts_and_ends_real_gateways(edge: Edge) -> None:
    """As many gateways run as the Deployment wants, each at its own address, and none outlives its pod."""
    edge.kubectl("scale", "deployment/edge", "--replicas=2")
    both = eventually(lambda: pods if len(pods := edge.pods()) == 2 else None)
    assert len({pod.address for pod in both}) == 2
    uids = edge.kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.uid}").split()
    assert all(any("envoy" in process for process in processes_of(uid)) for uid in uids)
    edge.kubectl("scale", "deployment/edge", "--replicas=1")
    eventually(lambda: edge.kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.uid}").split()[1:] == [])
    [kept] = edge.kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.uid}").split()
    assert [bool(processes_of(uid)) for uid in uids] == [uid == kept for uid in uids]


def test_a_pod_that_is_deleted_by_force_leaves_no_process(edge: Edge) -> None:
    """The object is gone at once; its processes follow, and the Deployment replaces it."""
    pod = edge.pod()
    uid = edge.kubectl("get", "pod", pod.name, "-o", "jsonpath={.metadata.uid}")
    edge.kubectl("delete", "pod", pod.name, "--grace-period=0", "--force")
    eventually(lambda: not processes_of(uid))
    assert edge.pod().name != pod.name
