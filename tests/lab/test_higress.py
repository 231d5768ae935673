"""The lab's Higress: its kind, its installation, and what becomes of its WasmPlugins."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from pluginrelease_lab import Lab, LabError, higress
from tests.lab.gateway_under_test import eventually

# lines of the log of Higress's controller
NOT_TRANSFERRED = r"\tinfo\tingress\twasmPlugin:off will not be transferred to istio since config disabled$"
TEMPLATE_FAILED = r"\terror\tingress\tFailed to process template for config higress-system/placed: secret"

NAMESPACE = "higress-system"
OURS = "wasmplugins.extensions.higress.io"
ISTIO_S = "wasmplugins.extensions.istio.io"
MISSING = "oci://10.244.0.1:5000/missing:1"  # the lab's registry says so at once
RULE = {"domain": ["a.example"], "config": {"on": True}}


@pytest.fixture
def cluster(higress_lab: Lab) -> Iterator[Lab]:
    """Nothing of a test is left: no WasmPlugin, here or there."""
    yield higress_lab
    higress_lab.kubectl("delete", OURS, "--all", "-A")
    eventually(lambda: not names(higress_lab))


def apply(lab: Lab, name: str, namespace: str = NAMESPACE, *flags: str, **spec: Any) -> None:
    about = {"name": name, "namespace": namespace}
    plugin = {"apiVersion": "extensions.higress.io/v1alpha1", "kind": "WasmPlugin", "metadata": about, "spec": spec}
    lab.kubectl("apply", *flags, "-f", "-", stdin=json.dumps(plugin))


def spec_of(lab: Lab, kind: str, name: str) -> dict[str, Any]:
    found = lab.kubectl("get", kind, name, "-n", NAMESPACE, "-o", "json", "--ignore-not-found")
    return dict(json.loads(found).get("spec", {})) if found else {}


def names(lab: Lab) -> list[str]:
    """Of the WasmPlugins that istiod has, anywhere."""
    return lab.kubectl("get", ISTIO_S, "-A", "-o", "jsonpath={.items[*].metadata.name}").split()


def version(lab: Lab, name: str) -> int:
    there = f"jsonpath={{.items[?(@.metadata.name=='{name}')].metadata.resourceVersion}}"
    return int(lab.kubectl("get", ISTIO_S, "-n", NAMESPACE, "-o", there) or 0)


def pushed(lab: Lab, name: str) -> int:
    """The number of the push that brought a plugin."""
    made = json.loads(lab.kubectl("get", ISTIO_S, name, "-n", NAMESPACE, "-o", "json"))
    return int(made["metadata"]["annotations"][higress.PUSH])


def logged(lab: Lab, pattern: str) -> bool:
    return re.search(pattern, lab.log("higress-controller").read_text(), re.MULTILINE) is not None


def test_an_installation_is_recognised_by_its_labels(higress_lab: Lab) -> None:
    """The gateways that serve, and the pod of the controller, which is only an object."""
    [gateway] = higress_lab.gateway_pods("app=higress-gateway,higress=higress-system-higress-gateway")
    assert higress_lab.request(gateway.address).status == 200
    wanted = ["-n", NAMESPACE, "-l", "app=higress-controller", "--for=condition=Ready", "--timeout=30s"]
    higress_lab.kubectl("wait", "pod", *wanted)
    names = "jsonpath={.spec.containers[*].name} {.spec.containers[*].image}"
    said = higress_lab.kubectl("get", "pod", gateway.name, "-n", NAMESPACE, "-o", names)
    assert re.fullmatch(r"higress-gateway \S+/higress/gateway:2\.2\.4", said)


def test_the_kind_drops_what_higress_does_not_know_without_a_word(cluster: Lab) -> None:
    """A selector, a target, a listener's match and a type are gone from what was applied, and nobody said so."""
    unknown = {"selector": {"matchLabels": {"a": "b"}}, "targetRefs": [], "match": [{"mode": "CLIENT"}], "type": "HTTP"}
    apply(cluster, "pruned", NAMESPACE, "--validate=false", url=MISSING, **unknown)
    assert spec_of(cluster, OURS, "pruned") == {"url": MISSING}


def test_the_kind_keeps_any_configuration(cluster: Lab) -> None:
    """Configurations are the plugin's own business, in each of the three places."""
    config = {"any": [{"thing": 1.5}]}
    spec = {"pluginConfig": config, "defaultConfig": config, "matchRules": [{"domain": ["a.b"], "config": config}]}
    apply(cluster, "kept", **spec)
    assert spec_of(cluster, OURS, "kept") == spec


def test_the_kind_requires_nothing(cluster: Lab) -> None:
    """Not even the plugin's url. That Istio's kind wants one is said as the lab's own limit."""
    apply(cluster, "empty")
    assert spec_of(cluster, OURS, "empty") == {}
    eventually(lambda: logged(cluster, r"\tlab: Istio's kind does not take wasmPlugin:empty, which Higress would"))


@pytest.mark.parametrize("field", ["failStrategy", "phase", "imagePullPolicy"])
def test_the_kind_checks_enumerations_and_nothing_else(cluster: Lab, field: str) -> None:
    """Higress has no FAIL_RELOAD; a checksum may be any text."""
    with pytest.raises(LabError, match="Unsupported value"):
        apply(cluster, "refused", **{field: "FAIL_RELOAD"})
    apply(cluster, "taken", sha256="no checksum", priority=None)


def test_a_rule_without_a_condition_keeps_what_was_live_and_only_the_controllers_log_says_so(cluster: Lab) -> None:
    """The trap as Higress has it: the object's status stays empty, and istiod keeps the old one."""
    apply(cluster, "ruled", url=MISSING, defaultConfig={"on": False}, matchRules=[RULE])
    there = {"on": False, "_rules_": [{"on": True, "_match_domain_": ["a.example"]}]}
    eventually(lambda: spec_of(cluster, ISTIO_S, "ruled").get("pluginConfig") == there)
    apply(cluster, "ruled", url=MISSING, defaultConfig={"on": 2}, matchRules=[{"config": {"on": True}}])
    said = r"\terror\tingress\tinvalid wasmPlugin:ruled, err:invalid match rule has no match condition, rule:\{"
    eventually(lambda: logged(cluster, said))
    assert spec_of(cluster, ISTIO_S, "ruled")["pluginConfig"] == there
    assert cluster.kubectl("get", OURS, "ruled", "-n", NAMESPACE, "-o", "jsonpath={.status}") == ""


def test_a_plugin_with_nothing_to_do_is_taken_off(cluster: Lab) -> None:
    """A disabled default and no rule: istiod has it no more."""
    apply(cluster, "off", url=MISSING, defaultConfig={"on": False})
    eventually(lambda: names(cluster) == ["off"])
    apply(cluster, "off", url=MISSING, defaultConfig={"on": False}, defaultConfigDisable=True)
    eventually(lambda: names(cluster) == [])
    assert logged(cluster, NOT_TRANSFERRED)


def test_only_the_installations_own_namespace_is_read(cluster: Lab) -> None:
    """A WasmPlugin elsewhere has no effect, and nobody says so."""
    apply(cluster, "elsewhere", "default", url=MISSING)
    apply(cluster, "here", url=MISSING)
    eventually(lambda: names(cluster) == ["here"])
    assert not logged(cluster, "elsewhere")


def test_a_changed_spec_makes_new_versions_of_all_and_a_changed_annotation_of_none(cluster: Lab) -> None:
    """Higress hands all over at each change, without labels and annotations; its istiod sends them on, all of them,
    only where a spec is another one. So an annotation makes nobody fetch again."""
    for name in ("one", "two"):
        apply(cluster, name, url=MISSING)
    eventually(lambda: version(cluster, "one") and version(cluster, "two"))
    was = {name: pushed(cluster, name) for name in ("one", "two")}
    cluster.kubectl("annotate", OURS, "one", "-n", NAMESPACE, "ring=1")
    apply(cluster, "one", url=MISSING, imagePullPolicy="UNSPECIFIED_POLICY")
    eventually(lambda: pushed(cluster, "two") > was["two"])
    [pushes] = {pushed(cluster, name) - first for name, first in was.items()}
    assert pushes == 1, "one push for the spec, none for the annotation"
    made = json.loads(cluster.kubectl("get", ISTIO_S, "one", "-n", NAMESPACE, "-o", "json"))["metadata"]
    assert made["labels"] == {higress.LABEL: higress.LABELLED}
    assert list(made["annotations"]) == [higress.PUSH]


def test_a_configuration_may_become_empty(cluster: Lab) -> None:
    """It is handed over as it is, and not as the null that the API server makes of it when it merges."""
    apply(cluster, "emptied", url=MISSING, pluginConfig={"a": 1})
    eventually(lambda: spec_of(cluster, ISTIO_S, "emptied").get("pluginConfig") == {"a": 1})
    apply(cluster, "emptied", url=MISSING, pluginConfig={})
    eventually(lambda: spec_of(cluster, ISTIO_S, "emptied").get("pluginConfig") == {})


def test_secrets_are_put_in_and_followed_as_higress_does_it(cluster: Lab) -> None:
    """One that is not there leaves the text; that it comes is found at the next push, that it changes at once, that it
    goes at the next push again. The value is in no line of the controller's log."""
    url, text = MISSING, "${secret.default/keys.token}"

    def make(value: str) -> None:
        data = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "default"}}
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps({**data, "stringData": {"token": value}}))

    def given() -> Any:
        return spec_of(cluster, ISTIO_S, "placed").get("pluginConfig", {}).get("token")

    try:
        apply(cluster, "placed", url=url, defaultConfig={"token": text})
        eventually(lambda: given() == text)
        assert logged(cluster, TEMPLATE_FAILED)
        make("first-s3cret")
        apply(cluster, "another", url=url)
        eventually(lambda: given() == "first-s3cret")
        make("second-s3cret")
        eventually(lambda: given() == "second-s3cret")
        cluster.kubectl("delete", "secret", "keys", "-n", "default")
        apply(cluster, "another", url=url, priority=3)
        eventually(lambda: given() == text)
        assert not logged(cluster, "s3cret")
    finally:
        cluster.kubectl("delete", "secret", "keys", "-n", "default", "--ignore-not-found")
