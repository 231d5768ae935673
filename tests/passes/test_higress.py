"""The life of a release on Higress: its own kind in a real API server, the lab's translator in its controller's place,
and a real istiod, agent and Envoy behind that. What Higress's own Envoy does otherwise is not proven here."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pluginrelease import api
from pluginrelease.core.compat import abi_rewrite
from pluginrelease.core.mesh import higress, target
from pluginrelease_lab import Lab, LabError, meshes, operator
from tests import wasm_modules
from tests.harness import registries
from tests.harness.cluster import LabCluster, Operator, conditions, observed, ready, unique

JSON = dict[str, Any]
Built = Callable[[str], Path]

NAMESPACE = meshes.HIGRESS.namespace
KIND = f"{higress.TARGET.plural}.{higress.TARGET.group}"
GATEWAY = {"provider": "Higress", "namespace": NAMESPACE}
MOCKED = "mock.example.com"
MARKED = {"name": "marked", "expect": {"bodyContains": '"hello": "world"'}}
RULE = {"domain": [MOCKED], "config": {"mockEnable": True}}


@pytest.fixture(scope="module")
def higress_operator(higress_lab: Lab) -> Iterator[Operator]:
    """An operator on the lab with Higress, to which the API server must have refused nothing."""
    operator.install(higress_lab)
    running = Operator(higress_lab, higress_lab.log("operator"))
    running.start()
    yield running
    running.stop()
    assert operator.forbidden(higress_lab) == [], "the chart's RBAC lacks something that the operator asked for"


@pytest.fixture
def cluster(higress_lab: Lab, higress_operator: Operator) -> Iterator[LabCluster]:
    """The lab with its operator; what the test applied is deleted when it ends, and no gateway runs it any more."""
    one = LabCluster(higress_lab, higress_operator)
    yield one
    one.clean_up()
    taken_off(one)


@pytest.fixture
def registry(higress_lab: Lab, tmp_path: Path) -> Iterator[registries.Registry]:
    """A registry that the test may stop."""
    one = registries.Registry(higress_lab, tmp_path)
    one.start()
    yield one
    one.stop()


@pytest.fixture
def module(built: Built, tmp_path: Path) -> Path:
    """The guides' plugin, as the Envoy of the lab loads it."""
    adapted = tmp_path / "my-plugin.wasm"
    adapted.write_bytes(abi_rewrite.adapt(built("my-plugin").read_bytes()).content)
    return adapted


def manifest(cluster: LabCluster, name: str, ref: str, namespace: str = NAMESPACE, **plugin: Any) -> JSON:
    """A PluginRelease for Higress's gateways."""
    whole = {"phase": "AUTHN", "priority": 300, **plugin}
    gateway = {**GATEWAY, "namespace": namespace}
    return cluster.manifest(name, ref, namespace=namespace, gateway=gateway, plugin=whole)


def answers(cluster: LabCluster, host: str = "any.example.com") -> list[str]:
    """Of each gateway: ``mocked`` by the plugin, ``marked`` by it for the upstream, or ``bare``."""
    told = []
    for pod in cluster.gateways(NAMESPACE):
        body = cluster.lab.request(pod.address, headers={"Host": host}).body.decode()
        marked = body != "hello world" and json.loads(body)["headers"].get("hello") == "world"
        told.append("mocked" if body == "hello world" else "marked" if marked else "bare")
    return told


def settled(cluster: LabCluster, name: str, phase: str) -> JSON:
    """The release, once it is in this phase for the newest spec."""
    return cluster.await_release(
        name, lambda it: observed(it) and it["status"].get("phase") == phase, namespace=NAMESPACE
    )


def plugin_of(cluster: LabCluster, name: str) -> JSON:
    """The WasmPlugin that was written, of Higress's kind."""
    found = cluster.get(KIND, NAMESPACE, name)
    assert found is not None
    return found


def taken_off(cluster: LabCluster) -> None:
    """Returns when no gateway runs the plugin; a listener that drains may take up to 45 s."""
    deadline = time.monotonic() + 50
    while answers(cluster, MOCKED) != ["bare"]:
        assert time.monotonic() < deadline, "the gateways still run the plugin"


def test_the_kind_comes_after_the_operator(cluster: LabCluster, module: Path, tmp_path: Path) -> None:
    """Without Higress's kind a release waits and says what to install; when it comes the plugin is written, and the
    changes of another hand are noticed at once."""
    definition = cluster.lab.kubectl("get", "crd", KIND, "-o", "yaml")
    cluster.lab.kubectl("delete", "crd", KIND, "--timeout=60s")
    name = unique("late")
    try:
        cluster.apply(manifest(cluster, name, cluster.push(module, tmp_path)))
        waiting = cluster.await_reason(name, "KindNotInstalled", namespace=NAMESPACE)
        assert "Install Higress's CRDs" in conditions(waiting)["Applied"]["message"]
    finally:
        kept = yaml.safe_load(definition)
        bare = {**kept, "metadata": {"name": kept["metadata"]["name"]}}
        bare.pop("status", None)
        cluster.lab.kubectl("create", "-f", "-", stdin=yaml.safe_dump(bare))
        operator.await_established(cluster.lab, f"crd/{KIND}")
    cluster.await_ready(name, namespace=NAMESPACE)
    before = plugin_of(cluster, name)["metadata"]["uid"]
    cluster.delete(KIND, NAMESPACE, name)
    again = next(it for it in cluster.watch(KIND, name, NAMESPACE, seconds=30) if it["metadata"]["uid"] != before)
    assert again["metadata"]["labels"][api.UID_LABEL] == cluster.release(name, NAMESPACE)["metadata"]["uid"]


def test_from_applied_to_rules_to_rolled_back_to_deleted(cluster: LabCluster, module: Path, tmp_path: Path) -> None:
    """The main job on Higress: a plugin for all requests, then a rule for one domain, then configurations that do not
    work, which are put back, and off again. Ready means each time that every gateway runs it."""
    name, ref = unique("my-plugin"), cluster.push(module, tmp_path)
    cluster.apply(manifest(cluster, name, ref, config={"mockEnable": False}))
    first = cluster.await_ready(name, namespace=NAMESPACE)
    assert answers(cluster) == ["marked"]
    assert first["status"]["gateways"][0]["object"]["apiVersion"] == "extensions.higress.io/v1alpha1"
    assert first["status"]["summary"]["pods"] == "1/1"
    written = plugin_of(cluster, name)["spec"]
    assert (written["defaultConfig"], "pluginConfig" in written) == ({"mockEnable": False}, False)

    env = [{"name": "LEVEL", "value": "info"}, {"name": "WASM_INSECURE_REGISTRIES", "valueFrom": "HOST"}]
    good = manifest(cluster, name, ref, config={"mockEnable": False}, matchRules=[RULE], env=env)
    good["spec"]["checks"] = {"probes": [MARKED]}
    cluster.apply(good)
    second = cluster.await_ready(name, namespace=NAMESPACE)
    assert (answers(cluster, MOCKED), answers(cluster)) == (["mocked"], ["marked"])

    for plugin, reason, words in (
        ({"matchRules": [{**RULE, "config": {"mockEnable": "yes"}}]}, "PluginRejected", "mockEnable is"),
        # with a rule beside it, the SDK drops a configuration that the plugin refuses, and says nothing
        ({"config": {"mockEnable": "yes"}}, "ProbeFailed", "marked"),
    ):
        cluster.apply({**good, "spec": {**good["spec"], "plugin": {**good["spec"]["plugin"], **plugin}}})
        put_back = settled(cluster, name, "RolledBack")
        assert (ready(put_back)["status"], ready(put_back)["reason"]) == ("False", reason)
        assert words in ready(put_back)["message"]
        assert put_back["status"]["stableRevision"] == second["status"]["stableRevision"]
        assert plugin_of(cluster, name)["spec"]["matchRules"] == [{**RULE, "configDisable": False}]
        assert (answers(cluster, MOCKED), answers(cluster)) == (["mocked"], ["marked"])

    cluster.apply(manifest(cluster, name, ref, configDisabled=True, matchRules=[RULE]))
    cluster.await_ready(name, namespace=NAMESPACE)
    assert (answers(cluster, MOCKED), answers(cluster)) == (["mocked"], ["bare"])

    cluster.delete(api.PLURAL, NAMESPACE, name)
    assert cluster.get(KIND, NAMESPACE, name) is None
    taken_off(cluster)


def test_a_rule_for_no_request_is_refused_by_us(cluster: LabCluster) -> None:
    """Higress would log an error that nobody reads and go on with the plugin before; here it cannot even be applied."""
    name = unique("aimless")
    with pytest.raises(LabError, match="ingress, domain"):
        cluster.apply(
            manifest(cluster, name, "registry.example.com/p:1", matchRules=[{"config": {"mockEnable": True}}])
        )
    cluster.created.clear()


def test_another_namespace_is_nobodys(cluster: LabCluster, module: Path, tmp_path: Path) -> None:
    """Higress reads the WasmPlugins of its own namespace only, and says nothing of others: the release does, and
    writes none."""
    namespace, name = unique("team"), unique("elsewhere")
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    cluster.apply(manifest(cluster, name, cluster.push(module, tmp_path), namespace=namespace))
    refused = cluster.await_reason(name, "NotHigressNamespace", namespace=namespace)
    assert "usually higress-system" in conditions(refused)["Applied"]["message"]
    assert cluster.get(KIND, namespace, name) is None


def test_gateways_fetch_again_though_no_metadata_arrives(cluster: LabCluster, registry: registries.Registry) -> None:
    """A pod that started while the registry was down is made to fetch again, by a change of the spec that is no other
    revision: no annotation of the WasmPlugin gets to Higress's istiod."""
    name = unique("nudged")
    cluster.apply(manifest(cluster, name, registry.push(wasm_modules.answering(name), name)))
    before = cluster.await_ready(name, namespace=NAMESPACE)
    registry.stop()
    [unlucky] = cluster.gateways(NAMESPACE)
    cluster.delete("pod", NAMESPACE, unlucky.name)
    failed = cluster.await_reason(name, "FetchFailed", namespace=NAMESPACE)
    assert failed["status"]["phase"] == "Unhealthy", "after Ready nothing is put back"

    registry.start()
    healed = cluster.await_ready(name, namespace=NAMESPACE)
    count = healed["status"]["checkpoint"]["gateways"][0]["refetch"]["count"]
    written = plugin_of(cluster, name)
    assert written["metadata"]["annotations"][api.REFETCH_ANNOTATION] == str(count)
    assert written["spec"]["imagePullPolicy"] == target.pull_policy(count)
    assert healed["status"]["stableRevision"] == before["status"]["stableRevision"]
    about = f"involvedObject.name={name}"
    assert "DriftCorrected" not in cluster.lab.kubectl("get", "events", "-n", NAMESPACE, "--field-selector", about)


def test_a_secret_in_the_configuration_is_in_nothing_that_we_write(
    cluster: LabCluster, module: Path, tmp_path: Path
) -> None:
    """Higress puts the value in the placeholder's place: a release with one waits for its Secret and becomes Ready. A
    plugin that then says the value in its own words is quoted without it, and rolled back."""
    name, value = unique("placed"), f"s3cret-{time.monotonic_ns()}"
    text = f"${{secret.default/{name}.token}}"
    ref = cluster.push(module, tmp_path)
    env = [{"name": "TOKEN", "value": text}]
    good = manifest(cluster, name, ref, config={"mockEnable": False, "auth": f"Bearer {text}"}, env=env)
    cluster.apply(good)
    waiting = cluster.await_reason(name, "PlaceholderSecretNotFound", namespace=NAMESPACE)
    assert f"kubectl -n default create secret generic {name}" in ready(waiting)["message"]
    assert cluster.get(KIND, NAMESPACE, name) is None, "nothing is written that Higress would hand over as text"
    cluster.apply(secret(name, value))
    cluster.retry(name, NAMESPACE)
    cluster.await_ready(name, namespace=NAMESPACE)
    handed = cluster.get("wasmplugins.extensions.istio.io", NAMESPACE, name)
    assert handed is not None
    assert handed["spec"]["pluginConfig"]["auth"] == f"Bearer {value}"
    assert plugin_of(cluster, name)["spec"]["defaultConfig"]["auth"] == f"Bearer {text}"

    cluster.apply(manifest(cluster, name, ref, config={"mockEnable": text, "auth": f"Bearer {text}"}, env=env))
    put_back = settled(cluster, name, "RolledBack")
    assert ready(put_back)["reason"] == "PluginRejected"
    assert "mockEnable is" in ready(put_back)["message"]
    written = cluster.lab.kubectl("get", f"{api.PLURAL},events,controllerrevisions,{KIND}", "-A", "-o", "json")
    assert (value in written, value in cluster.operator.log.read_text()) == (False, False)


def secret(name: str, value: str) -> JSON:
    """A Secret of the namespace default with one key, token."""
    about = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": about, "stringData": {"token": value}}


@pytest.mark.parametrize(
    ("value", "config", "words"),
    [
        ('x","admin":"yes', {"a": "${secret.default/NAME.token}"}, "backslash"),
        ("fine", {"a": "${secret.default/NAME.token}", "b": "${x.y.z}"}, "${x.y.z}"),
        ("fine", {"a": "${secret.default/NAME}"}, "${secret.NAMESPACE/NAME.KEY}"),
    ],
)
def test_what_would_stay_text_is_refused(
    cluster: LabCluster, module: Path, tmp_path: Path, value: str, config: JSON, words: str
) -> None:
    """Before anything is written, and without the value."""
    name = unique("unplaced")
    cluster.apply(secret(name, value))
    asked = {key: text.replace("NAME", name) for key, text in config.items()}
    cluster.apply(manifest(cluster, name, cluster.push(module, tmp_path), config=asked))
    refused = cluster.await_reason(name, "InvalidPlaceholder", namespace=NAMESPACE)
    assert words in ready(refused)["message"]
    assert "admin" not in json.dumps(refused["status"])
    assert cluster.get(KIND, NAMESPACE, name) is None


POLICY = Path(__file__).parents[2] / "examples" / "higress-priority-policy.yaml"
TOO_LARGE = {
    "apiVersion": "extensions.higress.io/v1alpha1",
    "kind": "WasmPlugin",
    "metadata": {"name": "too-large", "namespace": "default"},
    "spec": {"url": "oci://registry.example.com/p:1", "priority": 3000000000},
}


def test_one_object_that_stops_higress_is_named(cluster: LabCluster, module: Path, tmp_path: Path) -> None:
    """A priority beyond 32 bits in any namespace keeps Higress from reading any WasmPlugin: the release says which
    object it is and puts nothing back; when that goes, the release goes on."""
    name, ref = unique("stuck"), cluster.push(module, tmp_path)
    cluster.apply(manifest(cluster, name, ref, config={"mockEnable": False}))
    before = cluster.await_ready(name, namespace=NAMESPACE)["status"]["stableRevision"]
    cluster.lab.kubectl("create", "-f", "-", stdin=json.dumps(TOO_LARGE))
    try:
        changed = manifest(cluster, name, ref, config={"mockEnable": True})
        changed["spec"]["checks"] = {"load": {"timeout": "12s"}}
        cluster.apply(changed)
        stuck = cluster.await_reason(name, "ControlPlaneStuck", namespace=NAMESPACE)
        assert "default/too-large (spec.priority 3000000000)" in ready(stuck)["message"]
        assert "failure" not in stuck["status"]["rollout"]
        written = plugin_of(cluster, name)["spec"]["defaultConfig"]
        assert written == {"mockEnable": True}, "what is wanted stays written"
    finally:
        cluster.lab.kubectl("delete", KIND, "too-large", "-n", "default")
    after = cluster.await_ready(name, namespace=NAMESPACE)
    assert after["status"]["stableRevision"] != before
    assert answers(cluster) == ["mocked"]


def test_the_policy_to_copy_keeps_such_an_object_out(cluster: LabCluster) -> None:
    """The API server refuses it by the policy of the examples, and still takes every priority that Higress reads."""
    cluster.lab.kubectl("apply", "-f", str(POLICY))
    try:
        deadline = time.monotonic() + 30
        while "-2147483648" not in tried(cluster, 3000000000):
            assert time.monotonic() < deadline, "the API server has not taken the policy up"
            time.sleep(0.2)
        assert "-2147483648" in tried(cluster, -3000000000)
        assert [tried(cluster, number) for number in (-(2**31), 0, 2**31 - 1, None)] == [""] * 4
    finally:
        cluster.lab.kubectl("delete", "-f", str(POLICY))


def tried(cluster: LabCluster, priority: int | None) -> str:
    """What the API server says of a WasmPlugin with this priority, which is not made; "" for nothing."""
    spec = {"url": "oci://registry.example.com/p:1", **({} if priority is None else {"priority": priority})}
    try:
        cluster.lab.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps({**TOO_LARGE, "spec": spec}))
    except LabError as error:
        return str(error)
    return ""


def test_an_installation_with_other_labels(cluster: LabCluster, module: Path, tmp_path: Path) -> None:
    """Where the arguments of a Higress name other gateways than the operator looks at, nothing is written, and
    the message has the flag. With it the release says what it looks for."""
    namespace, name = unique("edge"), unique("renamed")
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    cluster.apply(controller(namespace, "--gatewaySelectorKey=higress", f"--gatewaySelectorValue={namespace}-edge"))
    ref = cluster.push(module, tmp_path)
    cluster.apply(manifest(cluster, name, ref, namespace=namespace))
    refused = cluster.await_reason(name, "GatewayLabelDiffers", namespace=namespace)
    flag = f"--higress-gateway-label={namespace}:higress={namespace}-edge"
    assert flag in ready(refused)["message"]
    assert cluster.get(KIND, namespace, name) is None

    cluster.operator.stop()
    cluster.operator.start(flag)
    try:
        told = cluster.await_release(
            name, lambda it: conditions(it).get("Loaded", {}).get("reason") == "NoGatewayPods", namespace=namespace
        )
        said = conditions(told)["Loaded"]["message"]
        assert all(named in said for named in (f"higress={namespace}-edge", "higress-gateway"))
        assert cluster.get(KIND, namespace, name) is not None
    finally:
        cluster.clean_up()
        cluster.operator.stop()
        cluster.operator.start()


def test_gateways_that_no_plugin_reaches_are_named(cluster: LabCluster, module: Path, tmp_path: Path) -> None:
    """Higress can deploy gateways for a Gateway each, which get no WasmPlugin: an event says so, and the release is
    Ready where it can be."""
    namespace, name = unique("isolated"), unique("reached")
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    about = {"name": "shop-higress", "namespace": namespace, "labels": {"gateway.higress.io/managed": "true"}}
    containers = [{"name": "higress-gateway", "image": "registry.example.com/higress/gateway:2.2.4"}]
    spec = {"nodeName": "lab-node", "containers": containers}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec})
    cluster.apply(manifest(cluster, name, cluster.push(module, tmp_path), config={"mockEnable": False}))
    cluster.await_ready(name, namespace=NAMESPACE)
    selected = f"involvedObject.name={name},reason=GatewaysNotReached"
    found = cluster.lab.kubectl("get", "events", "-n", NAMESPACE, "--field-selector", selected, "-o", "json")
    assert [f"{namespace}/shop-higress" in it["message"] for it in json.loads(found)["items"]] == [True]


def controller(namespace: str, *arguments: str) -> JSON:
    """A pod of Higress's controller, as its chart makes one."""
    about = {"name": "higress-controller", "namespace": namespace, "labels": {"app": "higress-controller"}}
    container = {
        "name": "higress-core",
        "image": "registry.example.com/higress/higress:2.2.4",
        "args": ["serve", *arguments],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": about,
        "spec": {"nodeName": "lab-node", "containers": [container]},
    }
