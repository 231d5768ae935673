"""The CRD in a real kube-apiserver: what it takes, what it refuses and with which words, and what kubectl shows."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from pluginrelease import api
from pluginrelease.api import crd
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.host import Lab

NAMESPACE = "crd-rules"
CEL = "x-kubernetes-validations"
UNSET = object()
HIGRESS_ONLY = {"matchRules", "configDisabled"}

Node = dict[str, Any]

RELEASE: Node = {
    "apiVersion": api.API_VERSION,
    "kind": api.KIND,
    "metadata": {"name": "auth", "namespace": NAMESPACE},
    "spec": {
        "artifact": {"image": {"ref": "registry.example.com/plugins/auth:1.2"}},
        "gateway": {
            "provider": "Istio",
            "namespace": "istio-system",
            "selector": {"matchLabels": {"istio": "ingressgateway"}},
        },
    },
}

PROBE: Node = {"name": "hello"}
HIGRESS: Node = {"provider": "Higress", "namespace": "higress-system"}
# what an item of a list has, beside the field that a row is about
ITEMS: dict[str, Node] = {"probes": PROBE, "matchRules": {}, "env": {"name": "LEVEL", "value": "info"}}
SIGNER: Node = {"issuer": "https://issuer[.]example[.]com", "subject": ".*@example[.]com"}
ITEMS["matchOIDCIdentity"] = SIGNER


@pytest.fixture
def stored(cluster: Lab) -> Iterator[Lab]:
    """The lab with RELEASE in it."""
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(RELEASE))
    yield cluster
    cluster.kubectl("delete", api.PLURAL, "--all", "-n", NAMESPACE)


def release(path: str = "", value: object = UNSET) -> Node:
    """RELEASE with one field set, or without it; ``probes[]`` is its only probe. With semver the ref has no tag. What
    only Higress has makes it one of Higress's."""
    changed = copy.deepcopy(RELEASE)
    if not path:
        return changed
    if path == SEMVER:
        changed["spec"]["artifact"]["image"]["ref"] = "registry.example.com:5000/plugins/auth"
    *parents, last = path.split(".")
    node = changed
    for parent in parents:
        if parent.endswith("[]"):
            name = parent.removesuffix("[]")
            [node] = node.setdefault(name, [copy.deepcopy(ITEMS[name])])
        else:
            node = node.setdefault(parent, {})
    if last.endswith("[]"):
        last, value = last.removesuffix("[]"), [value]
    node[last] = value
    if value is UNSET:
        del node[last]
    if last == "valueFrom":
        del node["value"]
    if path.startswith((ROOT, f"{VERIFY}.provider")):
        changed["spec"]["artifact"]["verify"]["matchOIDCIdentity"] = [SIGNER]
    if path.startswith("spec.plugin") and HIGRESS_ONLY & changed["spec"]["plugin"].keys():
        changed["spec"]["gateway"] = HIGRESS
        changed["spec"]["plugin"]["priority"] = 1
    return changed


def offer(lab: Lab, manifest: Node, *verb: str) -> str:
    """Show the API server an object without storing it. Raises LabError with the server's words."""
    return lab.kubectl(*(verb or ("create",)), "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(manifest))


class Rule(NamedTuple):
    """One constraint of the schema, a value it takes, a value it refuses, and words of the refusal."""

    path: str
    keyword: str
    accepted: Any
    refused: Any
    words: str


REF = "spec.artifact.image.ref"
SECRET = "spec.artifact.image.pullSecretRef"
THERE = "spec.artifact.image.gatewayPullSecretRef"
CA = "spec.artifact.image.caSecretRef"
VERIFY = "spec.artifact.verify"
SIGNERS = f"{VERIFY}.matchOIDCIdentity"
KEYS = f"{VERIFY}.secretRef"
ROOT = f"{VERIFY}.trustedRootSecretRef"
INTERVAL = "spec.artifact.image.interval"
SEMVER = "spec.artifact.image.semver"
LABELS = "spec.gateway.selector.matchLabels"
SHA = "spec.artifact.wasmSha256"
TIMEOUT = "spec.checks.load.timeout"
DEADLINE = "spec.rollout.progressDeadline"
PROBES = "spec.checks.probes"
ONE = f"{PROBES}[]"
HEADERS = f"{ONE}.headers"
ANSWERED = f"{ONE}.expect.headers"
IMAGE = RELEASE["spec"]["artifact"]["image"]
GATEWAY = RELEASE["spec"]["gateway"]
SHOP: Node = {"ingress": ["demo/shop"]}
MATCH = "spec.plugin.matchRules"
ENV = "spec.plugin.env"


def spec_of(gateway: Node, **plugin: object) -> Node:
    """A whole spec for some gateway."""
    return {"artifact": {"image": IMAGE}, "gateway": gateway, "plugin": plugin}


HTTPS = {"name": "secure", "scheme": "HTTPS"}

RULES = [
    Rule("metadata.name", "cel", "a" * 200, "a" * 201, "200 characters at most"),
    Rule("spec", "required", RELEASE["spec"], UNSET, "spec: Required value"),
    Rule("spec.artifact", "required", {"image": IMAGE}, UNSET, "spec.artifact: Required value"),
    Rule("spec.gateway", "required", GATEWAY, UNSET, "spec.gateway: Required value"),
    Rule("spec.deletionPolicy", "enum", "Orphan", "Keep", 'supported values: "Delete", "Orphan"'),
    Rule("spec.artifact.image", "required", IMAGE, UNSET, "spec.artifact.image: Required value"),
    Rule(REF, "required", "a/b:1", UNSET, "spec.artifact.image.ref: Required value"),
    Rule(REF, "minLength", "a", "", "at least 1 char"),
    Rule(REF, "maxLength", "a" * 512, "a" * 513, "may not be more than 512"),
    Rule(REF, "cel 0", "localhost:5000/auth@sha256:" + "0" * 64, "oci://a/b:1", "leave the scheme out: write"),
    Rule(REF, "cel 1", "a/b:1", "a/b: 1", "has no white space"),
    Rule(f"{SECRET}.name", "required", "keys", UNSET, "pullSecretRef.name: Required value"),
    Rule(f"{SECRET}.name", "minLength", "k", "", "at least 1 char"),
    Rule(f"{SECRET}.name", "maxLength", "k" * 253, "k" * 254, "may not be more than 253"),
    Rule(f"{SECRET}.name", "pattern", "pull.keys-2", "Keys", "should match"),
    Rule(f"{THERE}.name", "required", "keys", UNSET, "gatewayPullSecretRef.name: Required value"),
    Rule(f"{THERE}.name", "minLength", "k", "", "at least 1 char"),
    Rule(f"{THERE}.name", "maxLength", "k" * 253, "k" * 254, "may not be more than 253"),
    Rule(f"{THERE}.name", "pattern", "pull.keys-2", "Keys", "should match"),
    Rule(
        "spec.artifact.image",
        "cel 2",
        {"ref": "a/b:1", "gatewayPullSecretRef": {"name": "a"}},
        {"ref": "a/b:1", "pullSecretRef": {"name": "a"}, "gatewayPullSecretRef": {"name": "a"}},
        "name one pull secret",
    ),
    Rule(f"{CA}.name", "required", "ca", UNSET, "caSecretRef.name: Required value"),
    Rule(f"{CA}.name", "minLength", "c", "", "at least 1 char"),
    Rule(f"{CA}.name", "maxLength", "c" * 253, "c" * 254, "may not be more than 253"),
    Rule(f"{CA}.name", "pattern", "registry.ca-2", "CA", "should match"),
    Rule(f"{VERIFY}.provider", "enum", "cosign", "notation", 'supported values: "cosign"'),
    Rule(VERIFY, "cel 0", {"secretRef": {"name": "a"}}, {}, "say whose signature counts"),
    Rule(
        VERIFY,
        "cel 1",
        {"matchOIDCIdentity": [SIGNER]},
        {"secretRef": {"name": "a"}, "matchOIDCIdentity": [SIGNER]},
        "not both",
    ),
    Rule(
        VERIFY,
        "cel 2",
        {"trustedRootSecretRef": {"name": "a"}, "matchOIDCIdentity": [SIGNER]},
        {"trustedRootSecretRef": {"name": "a"}, "secretRef": {"name": "a"}},
        "trustedRootSecretRef is for keyless signatures",
    ),
    Rule(SIGNERS, "minItems", [SIGNER], [], "should have at least 1 items"),
    Rule(SIGNERS, "maxItems", [SIGNER] * 16, [SIGNER] * 17, "must have at most 16 items"),
    *(
        Rule(f"{SIGNERS}[].{field}", *row)
        for field in SIGNER
        for row in (
            ("required", "a", UNSET, f"matchOIDCIdentity[0].{field}: Required value"),
            ("minLength", "a", "", "at least 1 char"),
            ("maxLength", "a" * 512, "a" * 513, "may not be more than 512"),
        )
    ),
    *(
        Rule(f"{place}.name", *row)
        for place in (KEYS, ROOT)
        for row in (
            ("required", "keys", UNSET, f"{place}.name: Required value"),
            ("minLength", "k", "", "at least 1 char"),
            ("maxLength", "k" * 253, "k" * 254, "may not be more than 253"),
            ("pattern", "cosign.keys-2", "Keys", "should match"),
        )
    ),
    Rule(INTERVAL, "maxLength", "1m" * 16, "1m" * 16 + "1s", "may not be more than 32"),
    Rule(INTERVAL, "pattern", "1h30m", "5 minutes", "should match"),
    Rule(
        "spec.artifact.image",
        "cel 0",
        {"ref": "a/b:1", "interval": "5m"},
        {"ref": "a/b@sha256:" + "0" * 64, "interval": "5m"},
        "a digest never moves",
    ),
    Rule(
        "spec.artifact.image",
        "cel 1",
        {"ref": "localhost:5000/a/b", "semver": "1.x"},
        {"ref": "localhost:5000/a/b:1", "semver": "1.x"},
        "leave tag and digest out of ref",
    ),
    Rule(SEMVER, "cel", ">=1.2.0-rc.1 <2 || ~> v3.1 || 4.* , <4.5 || 5.0 - 6", "latest", "write a range of versions"),
    Rule(SEMVER, "minLength", "*", "", "at least 1 char"),
    Rule(SEMVER, "maxLength", ("1 || " * 26)[:-4] + " ", "1 || " * 26, "may not be more than 128"),
    Rule(SHA, "pattern", "0af9" * 16, "0AF9" * 16, "should match"),
    Rule(SHA, "maxLength", "0" * 64, "0" * 65, "may not be more than 64"),
    Rule("spec.gateway.provider", "required", "Istio", UNSET, "provider: Required value"),
    Rule("spec.gateway.provider", "enum", "Istio", "Linkerd", 'supported values: "Istio"'),
    Rule("spec.gateway.namespace", "required", "edge", UNSET, "namespace: Required value"),
    Rule("spec.gateway.namespace", "minLength", "e", "", "at least 1 char"),
    Rule("spec.gateway.namespace", "maxLength", "e" * 63, "e" * 64, "may not be more than 63"),
    Rule("spec.gateway.namespace", "pattern", "edge-2", "edge.2", "should match"),
    Rule("spec.gateway", "cel 0", GATEWAY, {"provider": "Istio", "namespace": "edge"}, "provider Istio needs selector"),
    Rule("spec.gateway", "cel 1", GATEWAY, {**GATEWAY, **HIGRESS}, "leave selector out: Higress gives a plugin to all"),
    Rule(
        "spec",
        "cel 0",
        spec_of(HIGRESS, priority=1, matchRules=[SHOP]),
        spec_of(GATEWAY, priority=1, matchRules=[SHOP]),
        "only Higress has plugin.matchRules",
    ),
    Rule(
        "spec",
        "cel 1",
        spec_of(HIGRESS, priority=1, failStrategy="FAIL_OPEN"),
        spec_of(HIGRESS, priority=1, failStrategy="FAIL_RELOAD"),
        "Higress does not know FAIL_RELOAD",
    ),
    Rule("spec", "cel 2", spec_of(HIGRESS, priority=0), spec_of(HIGRESS), "with Higress give plugin.priority"),
    Rule(
        "spec.plugin",
        "cel",
        {"configDisabled": True, "matchRules": [SHOP]},
        {"configDisabled": True, "matchRules": []},
        "Higress takes the plugin off all gateways",
    ),
    Rule(MATCH, "maxItems", [SHOP] * 64, [SHOP] * 65, "64 items"),
    Rule(f"{MATCH}[]", "cel 0", {"service": ["a:80"]}, {"config": {"on": True}}, "say which requests the rule is for"),
    Rule(
        f"{MATCH}[]",
        "cel 1",
        {"ingress": ["a"], "service": ["b"]},
        {"ingress": ["a"], "domain": ["b"]},
        "domain cannot stand beside ingress or service",
    ),
    Rule(
        f"{MATCH}[]",
        "cel 2",
        {**SHOP, "configDisabled": False},
        {**SHOP, "configDisabled": True},
        "leave the rule out: Higress does not switch the plugin off",
    ),
    Rule(f"{MATCH}[].ingress", "minItems", ["a"], [], "at least 1 item"),
    Rule(f"{MATCH}[].ingress", "maxItems", ["a"] * 32, ["a"] * 33, "32 items"),
    Rule(f"{MATCH}[].ingress[]", "minLength", "a", "", "at least 1 char"),
    Rule(f"{MATCH}[].ingress[]", "maxLength", "a" * 317, "a" * 318, "may not be more than 317"),
    Rule(f"{MATCH}[].domain", "minItems", ["a"], [], "at least 1 item"),
    Rule(f"{MATCH}[].domain", "maxItems", ["a"] * 32, ["a"] * 33, "32 items"),
    Rule(f"{MATCH}[].domain", "cel", ["*.example.com", "api.*", "*"], ["a.example.com:80"], "without scheme, port"),
    Rule(f"{MATCH}[].domain[]", "minLength", "a", "", "at least 1 char"),
    Rule(f"{MATCH}[].domain[]", "maxLength", "a" * 253, "a" * 254, "may not be more than 253"),
    Rule(f"{MATCH}[].service", "minItems", ["a"], [], "at least 1 item"),
    Rule(f"{MATCH}[].service", "maxItems", ["a"] * 32, ["a"] * 33, "32 items"),
    Rule(f"{MATCH}[].service[]", "minLength", "a", "", "at least 1 char"),
    Rule(f"{MATCH}[].service[]", "maxLength", "a" * 317, "a" * 318, "may not be more than 317"),
    Rule(
        ENV,
        "maxItems",
        [{"name": f"E{n}", "value": ""} for n in range(256)],
        [{"name": f"E{n}", "value": ""} for n in range(257)],
        "256 items",
    ),
    Rule(f"{ENV}[]", "cel 0", {"name": "A", "valueFrom": "HOST"}, {"name": "A"}, "give value, or valueFrom: HOST"),
    Rule(
        f"{ENV}[]",
        "cel 1",
        {"name": "META", "value": "a"},
        {"name": "ISTIO_META_A", "value": "a"},
        "names that begin with ISTIO_META_ are Istio's own",
    ),
    Rule(f"{ENV}[].name", "required", "A", UNSET, "name: Required value"),
    Rule(f"{ENV}[].name", "minLength", "A", "", "at least 1 char"),
    Rule(f"{ENV}[].name", "maxLength", "A" * 256, "A" * 257, "may not be more than 256"),
    Rule(f"{ENV}[].name", "pattern", "a.b-C_1", "A=B", "should match"),
    Rule(f"{ENV}[].value", "maxLength", "v" * 2048, "v" * 2049, "may not be more than 2048"),
    Rule(f"{ENV}[].valueFrom", "enum", "HOST", "INLINE", 'supported values: "HOST"'),
    Rule(LABELS, "required", {"istio": "edge"}, UNSET, "matchLabels: Required value"),
    Rule(LABELS, "maxProperties", {f"l{n}": "" for n in range(32)}, {f"l{n}": "" for n in range(33)}, "32 items"),
    Rule(LABELS, "cel 0", {"istio": "edge"}, {}, "an empty selector would mean every pod"),
    Rule(LABELS, "cel 1", {"istio.io/edge": ""}, {"istio": "in*"}, "neither wildcards nor empty label names"),
    Rule(f"{LABELS}{{}}", "maxLength", {"istio": "v" * 63}, {"istio": "v" * 64}, "may not be more than 63"),
    Rule("spec.plugin.name", "minLength", "r", "", "at least 1 char"),
    Rule("spec.plugin.name", "maxLength", "r" * 256, "r" * 257, "may not be more than 256"),
    Rule("spec.plugin.phase", "enum", "AUTHN", "UNSPECIFIED_PHASE", 'supported values: "AUTHN", "AUTHZ", "STATS"'),
    Rule("spec.plugin.priority", "minimum", -(2**31), -(2**31) - 1, "greater than or equal to -2147483648"),
    Rule("spec.plugin.priority", "maximum", 2**31 - 1, 2**31, "less than or equal to 2147483647"),
    Rule("spec.plugin.failStrategy", "enum", "FAIL_RELOAD", "FAIL_NEVER", 'supported values: "FAIL_CLOSE"'),
    Rule(TIMEOUT, "pattern", "1h2m3.5s", "2 minutes", "should match"),
    Rule(TIMEOUT, "maxLength", "1m" * 16, "1m" * 17, "may not be more than 32"),
    Rule(
        PROBES, "maxItems", [{"name": f"p{n}"} for n in range(16)], [{"name": f"p{n}"} for n in range(17)], "16 items"
    ),
    Rule(PROBES, "cel", [HTTPS | {"host": "shop.example.com"}], [PROBE, HTTPS], "a probe of scheme HTTPS needs host"),
    Rule(f"{ONE}.name", "required", "hello", UNSET, "name: Required value"),
    Rule(f"{ONE}.name", "minLength", "h", "", "at least 1 char"),
    Rule(f"{ONE}.name", "maxLength", "h" * 63, "h" * 64, "may not be more than 63"),
    Rule(f"{ONE}.name", "pattern", "hello-2", "hello.2", "should match"),
    Rule(f"{ONE}.scheme", "enum", "HTTP", "GRPC", 'supported values: "HTTP", "HTTPS"'),
    Rule(f"{ONE}.host", "minLength", "h", "", "at least 1 char"),
    Rule(f"{ONE}.host", "maxLength", "h" * 253, "h" * 254, "may not be more than 253"),
    Rule(f"{ONE}.host", "pattern", "Shop-2.example.com", "shop.example.com:8443", "should match"),
    Rule(f"{ONE}.port", "minimum", 1, 0, "greater than or equal to 1"),
    Rule(f"{ONE}.port", "maximum", 65535, 65536, "less than or equal to 65535"),
    Rule(f"{ONE}.method", "enum", "OPTIONS", "CONNECT", 'supported values: "GET", "HEAD"'),
    Rule(f"{ONE}.path", "minLength", "/", "", "at least 1 char"),
    Rule(f"{ONE}.path", "maxLength", "/" * 2048, "/" * 2049, "may not be more than 2048"),
    Rule(f"{ONE}.path", "pattern", "/a?b=%20~", "/a b", "should match"),
    Rule(f"{ONE}.body", "maxLength", "b" * 4096, "b" * 4097, "may not be more than 4096"),
    Rule(HEADERS, "maxProperties", {f"x-{n}": "" for n in range(16)}, {f"x-{n}": "" for n in range(17)}, "16 items"),
    Rule(f"{HEADERS}{{}}", "maxLength", {"allow": "v" * 1024}, {"allow": "v" * 1025}, "may not be more than 1024"),
    Rule(HEADERS, "cel 0", {"X-Allow-2": "true; ä"}, {"x_allow": "true"}, "letters, digits and hyphens"),
    Rule(HEADERS, "cel 1", {"x-host": "a"}, {"Host": "a"}, "Host is spelled by the probe's host"),
    Rule(f"{ONE}.expect.status", "minimum", 100, 99, "greater than or equal to 100"),
    Rule(f"{ONE}.expect.status", "maximum", 599, 600, "less than or equal to 599"),
    Rule(ANSWERED, "maxProperties", {f"x-{n}": "" for n in range(16)}, {f"x-{n}": "" for n in range(17)}, "16 items"),
    Rule(f"{ANSWERED}{{}}", "maxLength", {"via": "v" * 1024}, {"via": "v" * 1025}, "may not be more than 1024"),
    Rule(ANSWERED, "cel 0", {"X-Hello": "world"}, {"x hello": "world"}, "letters, digits and hyphens"),
    Rule(ANSWERED, "cel 1", {"x-connection": "a"}, {"Connection": "close"}, "Host is spelled by the probe's host"),
    Rule(f"{ONE}.expect.bodyContains", "minLength", "b", "", "at least 1 char"),
    Rule(f"{ONE}.expect.bodyContains", "maxLength", "b" * 1024, "b" * 1025, "may not be more than 1024"),
    Rule(DEADLINE, "pattern", "1h2m3.5s", "2 minutes", "should match"),
    Rule(DEADLINE, "maxLength", "1m" * 16, "1m" * 17, "may not be more than 32"),
    Rule("spec.rollout.onFailure", "enum", "Hold", "Ignore", 'supported values: "Rollback", "Hold"'),
    Rule("spec.revisionHistoryLimit", "minimum", 0, -1, "greater than or equal to 0"),
    Rule("spec.revisionHistoryLimit", "maximum", 100, 101, "less than or equal to 100"),
]
MORE_REFUSED = [
    ("spec.artifact.image", {"ref": "a/b@sha256:" + "0" * 64, "semver": "1.x"}, "leave tag and digest out of ref"),
    (SEMVER, "1.x ||", "write a range of versions"),
    (SEMVER, "1.x; 2.x", "write a range of versions"),
    (SEMVER, "!=1.2.3", "write a range of versions"),
    (SEMVER, "1.2.3.4", "write a range of versions"),
    (REF, "a/b:1\n", "has no white space"),
    (REF, "https://registry.example.com/a:1", "leave the scheme out"),
    (LABELS, {"*": "edge"}, "neither wildcards"),
    (LABELS, {"": "edge"}, "empty label names"),
    ("spec.plugin.config", ["not", "an", "object"], "must be of type object"),
    ("spec.suspend", "yes", "must be of type boolean"),
    (PROBES, [PROBE, {**PROBE, "path": "/other"}], 'Duplicate value: {"name":"hello"}'),
    (HEADERS, {"": "a"}, "letters, digits and hyphens"),
    (HEADERS, {"x-a:": "a"}, "letters, digits and hyphens"),
    (HEADERS, {"x-a": "a\r\nx-b: b"}, "no line breaks"),
    (HEADERS, {"CONTENT-length": "0"}, "are the operator's"),
    (HEADERS, {"transfer-encoding": "chunked"}, "are the operator's"),
    (HEADERS, {"Connection": "close"}, "are the operator's"),
    (ANSWERED, {"x-a": "a\n"}, "no line breaks"),
    (f"{MATCH}[].domain", ["https://a.example.com"], "without scheme"),
    (f"{MATCH}[].domain", ["a.*.com"], "at most one *"),
    (f"{MATCH}[]", {"domain": ["a"], "service": ["b"]}, "Make two rules"),
    (f"{MATCH}[]", {}, "is plugin.config"),
    ("spec.plugin.configDisabled", True, "name the requests that are to have it"),
    (ENV, [{"name": "A", "value": ""}, {"name": "A", "valueFrom": "HOST"}], 'Duplicate value: {"name":"A"}'),
    (f"{ENV}[]", {"name": "A", "value": "", "valueFrom": "HOST"}, "give value, or valueFrom: HOST"),
    (f"{ONE}.path", "hello", "should match"),
    (f"{ONE}.path", "/a\r\nx-b: b", "should match"),
]
# rules about a change: tested on a stored object
TRANSITIONS = {("spec.gateway.provider", "cel"), ("spec.gateway.namespace", "cel")}


def constraints(node: Node, path: str) -> Iterator[tuple[str, str]]:
    """Every constraint below a schema node as (path, keyword)."""
    for keyword in (
        "enum",
        "pattern",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "maxProperties",
    ):
        if keyword in node:
            yield path, keyword
    rules = node.get(CEL, [])
    for number in range(len(rules)):
        yield path, "cel" if len(rules) == 1 else f"cel {number}"
    for name in node.get("required", []):
        yield f"{path}.{name}", "required"
    for name, child in node.get("properties", {}).items():
        yield from constraints(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in node:
            yield from constraints(node[key], f"{path}{mark}")


def test_every_rule_of_the_spec_is_tried() -> None:
    """The table above has a row for each constraint that the CRD puts on what people write, and no other row."""
    schema = crd.object_schema()
    [name_rule] = schema[CEL]
    assert "metadata.name" in name_rule["rule"]
    expected = {("metadata.name", "cel"), ("spec", "required")} | set(constraints(schema["properties"]["spec"], "spec"))
    assert expected == {(rule.path, rule.keyword) for rule in RULES} | TRANSITIONS


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.path}-{rule.keyword}")
def test_a_rule_accepts_and_refuses(cluster: Lab, rule: Rule) -> None:
    """Each rule lets its edge value through, and refuses the value beyond it with words that help."""
    path = rule.path.removesuffix("{}")
    offer(cluster, release(path, rule.accepted))
    with pytest.raises(LabError) as refusal:
        offer(cluster, release(path, rule.refused), "create", "--validate=ignore")
    assert rule.words in str(refusal.value)


@pytest.mark.parametrize(("path", "value", "words"), MORE_REFUSED, ids=lambda it: str(it)[:40])
def test_more_is_refused(cluster: Lab, path: str, value: object, words: str) -> None:
    """The same rules see the other ways to break them."""
    with pytest.raises(LabError) as refusal:
        offer(cluster, release(path, value), "create", "--validate=ignore")
    assert words in str(refusal.value)


def test_a_typo_is_refused(cluster: Lab) -> None:
    """kubectl's strict validation names a field that does not exist."""
    with pytest.raises(LabError, match=r'unknown field "spec\.plugin\.prioritty"'):
        offer(cluster, release("spec.plugin.prioritty", 1))


def test_the_gateway_namespace_keeps_its_value(stored: Lab) -> None:
    """gateway.namespace is immutable: the plugin would stay behind in the old one. Other fields change freely."""
    with pytest.raises(LabError, match=r"gateway.namespace cannot be changed: make a new PluginRelease"):
        offer(stored, release("spec.gateway.namespace", "other"), "apply")
    offer(stored, release(LABELS, {"istio": "egressgateway"}), "apply")


def test_the_provider_keeps_its_value(stored: Lab) -> None:
    """gateway.provider is immutable: the plugin would stay behind in the other mesh."""
    with pytest.raises(LabError, match=r"gateway.provider cannot be changed: make a new PluginRelease"):
        offer(stored, release("spec", spec_of(HIGRESS, priority=1)), "apply")


def test_a_new_object_shows_its_defaults(stored: Lab) -> None:
    """`kubectl get -o yaml` shows what the operator goes by, and that nothing was observed yet."""
    found = json.loads(stored.kubectl("get", "prel", "auth", "-n", NAMESPACE, "-o", "json"))
    assert found["status"] == {"observedGeneration": -1}
    assert found["metadata"]["generation"] == 1
    assert found["spec"] == {
        "suspend": False,
        "deletionPolicy": "Delete",
        "artifact": {"image": {"ref": "registry.example.com/plugins/auth:1.2", "insecure": False}},
        "gateway": GATEWAY,
        "plugin": {"failStrategy": "FAIL_CLOSE"},
        "checks": {"load": {"timeout": "2m"}, "probes": []},
        "rollout": {"progressDeadline": "10m", "onFailure": "Rollback"},
        "revisionHistoryLimit": 10,
    }


def test_a_new_probe_shows_its_defaults(cluster: Lab) -> None:
    """A probe that only has a name is GET / over HTTP and wants 200, and `kubectl get -o yaml` says so."""
    offered = json.loads(offer(cluster, release(PROBES, [PROBE])))
    [probe] = offered["spec"]["checks"]["probes"]
    assert probe == {"name": "hello", "scheme": "HTTP", "method": "GET", "path": "/", "expect": {"status": 200}}


def test_probes_merge_by_name(stored: Lab) -> None:
    """Two appliers may each bring a probe of their own: a list merges by the probe's name."""
    for owner, probe in (("one", {"name": "b", "path": "/b"}), ("other", {"name": "a", "path": "/a"})):
        partial = {**release(), "spec": {**RELEASE["spec"], "checks": {"probes": [probe]}}}
        stored.kubectl("apply", "--server-side", f"--field-manager={owner}", "-f", "-", stdin=json.dumps(partial))
    found = json.loads(stored.kubectl("get", "prel", "auth", "-n", NAMESPACE, "-o", "json"))
    assert {probe["name"]: probe["path"] for probe in found["spec"]["checks"]["probes"]} == {"a": "/a", "b": "/b"}


def test_what_the_api_server_stores_is_what_the_models_read(stored: Lab) -> None:
    """An object of the API server parses into a Release, and its spec comes out unchanged."""
    found = json.loads(stored.kubectl("get", "prel", "auth", "-n", NAMESPACE, "-o", "json"))
    parsed = api.Release.model_validate(found)
    assert parsed.spec.wire() == found["spec"]
    assert parsed.status.observed_generation == -1


def test_config_keeps_every_shape(cluster: Lab) -> None:
    """plugin.config is the plugin's own: nested objects, lists, numbers and nulls stay as they are written."""
    config = {"rules": [{"path": "/a", "limits": {"rps": 1.5}}], "deep": {"on": True, "none": None}, "n": 7}
    offered = json.loads(offer(cluster, release("spec.plugin.config", config)))
    assert offered["spec"]["plugin"]["config"] == config


HEALTHY_STATUS: Node = {
    "observedGeneration": 1,
    "phase": "Ready",
    "targetRevision": "5f2a9c01",
    "artifact": {
        "ref": "registry.example.com/plugins/auth:1.2",
        "image": "registry.example.com/plugins/auth@sha256:" + "a" * 64,
        "digest": "sha256:" + "a" * 64,
        "wasmSha256": "b" * 64,
        "size": 2300000,
        "layout": "OCICompat",
    },
    "gateways": {"desired": 3, "loaded": 3, "failed": 0, "summary": "3/3"},
    "conditions": [
        {"type": "Ready", "status": "True", "reason": "Loaded", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {"type": "Stalled", "status": "False", "reason": "Loaded", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ],
}


def write_status(lab: Lab, status: Node) -> None:
    """What the operator does at the end of a pass."""
    patch = json.dumps({"status": status})
    lab.kubectl("patch", "prel", "auth", "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", patch)


def columns(table: str) -> dict[str, str]:
    """The one row of a table of kubectl, by column."""
    head, row = table.splitlines()
    starts = [head.index(name) for name in head.split()]
    ends = [*starts[1:], None]
    return {name: row[start:end].strip() for name, start, end in zip(head.split(), starts, ends, strict=True)}


def test_the_columns_of_kubectl_get(stored: Lab) -> None:
    """`kubectl get prel` answers: does it run, where, and which one; -o wide adds why, the digest and the gateway."""
    write_status(stored, HEALTHY_STATUS)
    narrow = columns(stored.kubectl("get", "prel", "-n", NAMESPACE))
    assert narrow.pop("AGE")
    assert narrow == {"NAME": "auth", "PHASE": "Ready", "REVISION": "5f2a9c01", "LOADED": "3/3", "READY": "True"}
    wide = columns(stored.kubectl("get", "prel", "-n", NAMESPACE, "-o", "wide"))
    assert wide.items() >= narrow.items()
    assert wide["REASON"] == "Loaded"
    assert wide["DIGEST"] == HEALTHY_STATUS["artifact"]["digest"]
    assert wide["GATEWAY"] == "istio-system"


def test_kubectl_wait_sees_ready(stored: Lab) -> None:
    """`kubectl wait --for=condition=Ready` returns when the condition is True, and not before."""
    with pytest.raises(LabError, match="timed out"):
        stored.kubectl("wait", "--for=condition=Ready", "prel/auth", "-n", NAMESPACE, "--timeout=100ms")
    write_status(stored, HEALTHY_STATUS)
    stored.kubectl("wait", "--for=condition=Ready", "prel/auth", "-n", NAMESPACE, "--timeout=30s")


def test_status_belongs_to_the_subresource(stored: Lab) -> None:
    """Who may edit a release cannot write its status with it, and a status is no new generation."""
    stored.kubectl("apply", "-f", "-", stdin=json.dumps({**release(), "status": {"phase": "Forged"}}))
    found = json.loads(stored.kubectl("get", "prel", "auth", "-n", NAMESPACE, "-o", "json"))
    assert "phase" not in found["status"]
    write_status(stored, HEALTHY_STATUS)
    assert (
        json.loads(stored.kubectl("get", "prel", "auth", "-n", NAMESPACE, "-o", "json"))["metadata"]["generation"] == 1
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("conditions", [{**HEALTHY_STATUS["conditions"][0], "status": "Maybe"}]),
        (
            "gateways",
            {
                **HEALTHY_STATUS["gateways"],
                "pods": [{"name": "a", "namespace": "b", "state": "Fine", "reason": "Loaded"}],
            },
        ),
    ],
)
def test_unknown_words_in_status_are_refused(stored: Lab, field: str, value: object) -> None:
    """A status of a condition or a pod is one of the documented words."""
    with pytest.raises(LabError, match="Unsupported value"):
        write_status(stored, {**HEALTHY_STATUS, field: value})


def test_it_is_listed_with_the_rest(stored: Lab) -> None:
    """`kubectl get all` and `kubectl get wasm` show releases."""
    for category in ("all", "wasm"):
        listed = stored.kubectl("get", category, "-n", NAMESPACE, "-o", "name")
        assert f"{api.SINGULAR}.{api.GROUP}/auth" in listed.split()


def test_kubectl_explains_a_field(cluster: Lab) -> None:
    """`kubectl explain` gives the description that the models give."""
    explained = " ".join(cluster.kubectl("explain", "prel.spec.artifact.image.ref").split())
    assert "only the digest is ever written to a gateway" in explained
