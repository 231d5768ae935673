"""The chart by real Helm: linted, rendered, refused by its schema, and installed on a real API server."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

import pluginrelease
from pluginrelease import api
from pluginrelease.cli import crd as crd_command
from pluginrelease.cli import run as run_command
from pluginrelease_lab import operator
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.host import Lab

CHECKOUT = Path(__file__).resolve().parents[2]
CHART = CHECKOUT / "charts" / "pluginrelease"
NAMESPACE = "chart-test"
RELEASE = "chart-test"
FULLNAME = "chart-test-pluginrelease"

Node = dict[str, Any]

# every value with another one than the default's, as --set-json takes it, and where it shows in the rendered text
EFFECTS = [
    ('image.repository="registry.example.com/ops"', 'image: "registry.example.com/ops:0.1.0"'),
    ('image.tag="9.9"', 'image: "pluginrelease-operator:9.9"'),
    (f'image.digest="sha256:{"0" * 64}"', f'image: "pluginrelease-operator@sha256:{"0" * 64}"'),
    ('image.pullPolicy="Always"', "imagePullPolicy: Always"),
    ('imagePullSecrets=[{"name":"keys"}]', "imagePullSecrets:\n        - name: keys"),
    ('nameOverride="prel"', "app.kubernetes.io/name: prel"),
    ('fullnameOverride="other"', "kind: Deployment\nmetadata:\n  name: other\n"),
    ("crds.install=false", ""),
    ("crds.keep=false", ""),
    ('serviceAccount.name="robot"', "serviceAccountName: robot"),
    ('serviceAccount.annotations={"cloud.example.com/role":"a"}', "annotations:\n    cloud.example.com/role: a"),
    ("rbac.aggregateToUserRoles=false", ""),
    ('operator.istioRootNamespace="mesh"', "- --istio-root-namespace=mesh"),
    ('operator.resync="90s"', "- --resync=90s"),
    ("operator.livenessPort=9090", "containerPort: 9090"),
    ('operator.logFormat="text"', "- --log-format=text"),
    ('operator.logLevel="debug"', "- --log-level=debug"),
    ('operator.gatewayContainer="envoy"', "- --gateway-container=envoy"),
    ('operator.higressGatewayLabels=["team-a:higress=edge"]', "- --higress-gateway-label=team-a:higress=edge"),
    ("operator.gatewayAdminPort=9901", "- --gateway-admin-port=9901"),
    ("operator.allowPrivateRealms=true", "- --allow-private-realms"),
    ('operator.allowedRegistries=["ghcr.io/team"]', "- --allowed-registries=ghcr.io/team"),
    ('operator.privateRealmsOf=["registry.internal:5000"]', "- --private-realms-of=registry.internal:5000"),
    ("operator.allowNativeCode=true", "- --allow-native-code"),
    ('operator.cacheSize="2Gi"', "- --cache-size=2Gi"),
    ('operator.trustedRootConfigMap="sigstore"', "configMap:\n            name: sigstore"),
    ('operator.registryCAConfigMap="corporate"', "configMap:\n            name: corporate"),
    ('operator.registryCAKey="ca-bundle.crt"', "- --registry-ca-file=/etc/pluginrelease/registry-ca/ca-bundle.crt"),
    ('env=[{"name":"HTTPS_PROXY","value":"http://proxy:3128"}]', "env:\n            - name: HTTPS_PROXY"),
    ('resources={"limits":{"memory":"2Gi"}}', "memory: 2Gi"),
    ('podLabels={"team":"edge"}', "        team: edge"),
    ('podAnnotations={"note":"here"}', "annotations:\n        note: here"),
    ('nodeSelector={"disk":"ssd"}', "nodeSelector:\n        disk: ssd"),
    ('tolerations=[{"key":"gpu","operator":"Exists"}]', "tolerations:\n        - key: gpu"),
    ('affinity={"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[]}}', "affinity:\n        nodeAff"),
]

# what a value takes to have an effect
NEEDS = {'operator.registryCAKey="ca-bundle.crt"': 'operator.registryCAConfigMap="corporate"'}

EVERY_FLAG = [
    "operator.allowPrivateRealms=true",
    "operator.allowNativeCode=true",
    'operator.allowedRegistries=["ghcr.io/team","docker.io"]',
    'operator.higressGatewayLabels=["higress=edge","team-a:higress=edge"]',
    'operator.privateRealmsOf=["registry.internal:5000"]',
    'operator.trustedRootConfigMap="sigstore"',
    'operator.registryCAConfigMap="corporate"',
]

REFUSED = [
    ("replicas=2", "additional properties 'replicas' not allowed"),
    ('operator.watchNamespaces=["a"]', "additional properties 'watchNamespaces' not allowed"),
    ('operator.logLevel="loud"', "value must be one of 'debug', 'info', 'warning', 'error'"),
    ('operator.logFormat="xml"', "value must be one of 'json', 'text'"),
    ('operator.resync="5 minutes"', "does not match pattern"),
    ("operator.livenessPort=80", "minimum: got 80, want 1,024"),
    ('operator.gatewayAdminPort="15000"', "got string, want integer"),
    ('operator.allowPrivateRealms="yes"', "got string, want boolean"),
    ('operator.allowedRegistries=["https://ghcr.io"]', "does not match pattern"),
    ('operator.privateRealmsOf="ghcr.io"', "got string, want array"),
    ('operator.cacheSize="100Mi"', "does not match pattern"),
    ('operator.istioRootNamespace=""', "minLength"),
    ('image.repository=""', "minLength"),
    ('image.digest="latest"', "does not match pattern"),
    ('image.pullPolicy="Sometimes"', "value must be one of 'Always', 'IfNotPresent', 'Never'"),
    ('imagePullSecrets=["keys"]', "got string, want object"),
    ('podLabels={"team":1}', "got number, want string"),
]


def leaves(schema: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every value that can be set, with its schema; maps and lists that are passed on count as one."""
    for name, child in schema["properties"].items():
        here = f"{path}.{name}" if path else name
        if child.get("properties"):
            yield from leaves(child, here)
        else:
            yield here, child


def text_of(*values: str) -> str:
    """What `helm template` prints."""
    settings = [part for value in values for part in ("--set-json", value)]
    return operator.helm("template", "pluginrelease", CHART, *settings)


def by_kind(manifests: list[Node], kind: str) -> list[Node]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


@pytest.fixture(scope="module")
def schema() -> Node:
    parsed: Node = json.loads((CHART / "values.schema.json").read_text())
    return parsed


@pytest.fixture(scope="module")
def rendered() -> list[Node]:
    """The objects with default values."""
    return operator.render(NAMESPACE)


# ------------------------------------------------------------------------------------------------ as text


def test_lint() -> None:
    """`helm lint --strict` has no warning."""
    assert "0 chart(s) failed" in operator.helm("lint", "--strict", CHART)


def test_one_version() -> None:
    """Package, module and chart carry the same version: the chart's default image is the one this checkout builds."""
    described = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert {described["version"], described["appVersion"], project["version"]} == {pluginrelease.__version__}


def test_the_example_of_the_chart_is_a_release() -> None:
    """What a catalogue of charts shows as an example fits the API."""
    annotations = yaml.safe_load((CHART / "Chart.yaml").read_text())["annotations"]
    [example] = yaml.safe_load(annotations["artifacthub.io/crdsExamples"])
    [entry] = api.Spec.model_validate(example["spec"]).gateways
    assert entry.namespace == "istio-system"


def test_every_value_is_described_and_closed(schema: Node) -> None:
    """The schema has a sentence for every value and takes no name that is not there."""
    for path, leaf in leaves(schema):
        assert leaf.get("description"), f"{path} has no description"
    assert schema["additionalProperties"] is False
    assert all(
        child["additionalProperties"] is False for child in schema["properties"].values() if "properties" in child
    )


def test_values_and_schema_have_the_same_names(schema: Node) -> None:
    """Every value of the schema has a default in values.yaml, and no other name stands there."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def named(node: Node, below: Node, path: str = "") -> Iterator[str]:
        for name, value in node.items():
            here = f"{path}.{name}" if path else name
            inner = below.get("properties", {}).get(name, {})
            yield from named(value, inner, here) if inner.get("properties") else [here]

    assert set(named(values, schema)) == {path for path, _ in leaves(schema)} - {"global"}


def test_every_value_is_tried(schema: Node) -> None:
    """The table of effects has a row for each value of the schema: no value is without effect."""
    assert {effect.split("=")[0] for effect, _ in EFFECTS} == {path for path, _ in leaves(schema)} - {"global"}


@pytest.mark.parametrize(("value", "shows"), EFFECTS, ids=lambda it: it.split("=")[0])
def test_a_value_has_its_effect(value: str, shows: str) -> None:
    """A value that is set shows in the rendered objects, and did not show before."""
    others = [NEEDS[value]] if value in NEEDS else []
    before, after = text_of(*others), text_of(*others, value)
    assert before != after
    assert shows in after
    assert not shows or shows not in before


@pytest.mark.parametrize(("value", "words"), REFUSED, ids=lambda it: it.split("=")[0])
def test_a_wrong_value_is_refused(value: str, words: str) -> None:
    """The schema refuses unknown names and wrong shapes before anything reaches the cluster."""
    with pytest.raises(LabError) as refusal:
        text_of(value)
    assert words in str(refusal.value)


def test_the_flags_are_the_commands(rendered: list[Node]) -> None:
    """Every argument of the Deployment is a flag of `pluginrelease run`, and the operator takes the values."""
    [deployment] = by_kind(operator.render(NAMESPACE, EVERY_FLAG), "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    command, *flags = container["args"]
    assert command == "run"
    with run_command.run.make_context("run", list(flags)) as context:
        assert isinstance(context, click.Context)
        assert context.params["allow_private_realms"] is True
        assert context.params["allowed_registries"] == ("ghcr.io/team", "docker.io")
        assert context.params["cache_size"] == 1024**3
        assert context.params["resync"] == 300.0


def test_every_flag_has_a_value(rendered: list[Node]) -> None:
    """What the operator can be told can be told by the chart; a kubeconfig is no matter of a pod."""
    flags = {option for parameter in run_command.run.params for option in parameter.opts}
    [deployment] = by_kind(operator.render(NAMESPACE, EVERY_FLAG), "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    given = {argument.split("=")[0] for argument in container["args"][1:]}
    assert flags - given == {"--kubeconfig", "--namespace"}


def test_the_crd_is_the_one_of_the_models(rendered: list[Node]) -> None:
    """The rendered CRD is crds/ and nothing else but the annotation that keeps it."""
    [found] = by_kind(rendered, "CustomResourceDefinition")
    assert found["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert found == yaml.safe_load(crd_command.text())


def test_the_crd_can_be_left_out_and_let_go() -> None:
    """crds.install=false renders no CRD; crds.keep=false renders one that goes with the chart."""
    assert by_kind(operator.render(NAMESPACE, ["crds.install=false"]), "CustomResourceDefinition") == []
    [found] = by_kind(operator.render(NAMESPACE, ["crds.keep=false"]), "CustomResourceDefinition")
    assert "annotations" not in found["metadata"]


def test_user_roles_can_be_left_out() -> None:
    """rbac.aggregateToUserRoles=false leaves the operator's own role alone."""
    roles = by_kind(operator.render(NAMESPACE, ["rbac.aggregateToUserRoles=false"]), "ClusterRole")
    assert [role["metadata"]["name"] for role in roles] == ["pluginrelease"]


def test_one_operator_at_a_time(rendered: list[Node]) -> None:
    """One replica, and the old pod is gone before the new one starts."""
    [deployment] = by_kind(rendered, "Deployment")
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_the_probes_ask_what_the_operator_answers(rendered: list[Node]) -> None:
    """The kubelet asks for readiness and liveness at the port and the paths where the operator answers."""
    [deployment] = by_kind(rendered, "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("readiness", "liveness")}
    assert {name: probe["path"] for name, probe in asked.items()} == {"readiness": "/readyz", "liveness": "/healthz"}
    [port] = [port for port in container["ports"] if port["name"] == "healthz"]
    assert {probe["port"] for probe in asked.values()} == {port["name"]}
    assert f"--liveness-port={port['containerPort']}" in container["args"]


def test_own_labels_cannot_break_the_selector() -> None:
    """A pod label of the user never takes the place of one that the Deployment selects by."""
    [deployment] = by_kind(operator.render(NAMESPACE, ['podLabels={"app.kubernetes.io/name":"mine"}']), "Deployment")
    wanted = deployment["spec"]["selector"]["matchLabels"]
    assert deployment["spec"]["template"]["metadata"]["labels"].items() >= wanted.items()


def test_secrets_are_never_listed(rendered: list[Node]) -> None:
    """The operator reads the Secrets that releases name, and cannot look for others; no rule has a wildcard."""
    [role] = [role for role in by_kind(rendered, "ClusterRole") if role["metadata"]["name"] == "pluginrelease"]
    [secrets] = [rule for rule in role["rules"] if "secrets" in rule["resources"]]
    assert set(secrets["verbs"]) == {"get", "create", "patch", "delete"}
    assert not any("*" in part for rule in role["rules"] for part in (*rule["verbs"], *rule["resources"]))


def test_names_keep_inside_their_limit() -> None:
    """A long release name is cut where Kubernetes would refuse it."""
    text = operator.helm("template", "r" * 53, CHART)
    names = {manifest["metadata"]["name"] for manifest in yaml.safe_load_all(text) if manifest}
    assert all(len(name) <= 70 for name in names)
    [account] = by_kind([manifest for manifest in yaml.safe_load_all(text) if manifest], "ServiceAccount")
    assert len(account["metadata"]["name"]) <= 63


# ------------------------------------------------------------------------------------- on the API server


@pytest.fixture(scope="module")
def namespace(lab: Lab) -> Iterator[str]:
    """A namespace that allows only restricted pods."""
    lab.kubectl("create", "namespace", NAMESPACE)
    lab.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    yield NAMESPACE
    lab.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def helm_on(lab: Lab, *arguments: str | Path) -> str:
    """Helm against the lab."""
    return operator.helm(*arguments, "--namespace", NAMESPACE, "--kubeconfig", lab.kubeconfig)


def installed(lab: Lab) -> set[str]:
    """Everything on the API server that this release of the chart made."""
    kinds = "deployments,replicasets,pods,serviceaccounts,secrets,clusterroles,clusterrolebindings"
    mine = f"app.kubernetes.io/instance={RELEASE}"
    names = lab.kubectl("get", kinds, "-n", NAMESPACE, "-l", mine, "-o", "name").split()
    records = lab.kubectl("get", "secrets", "-n", NAMESPACE, "-l", "owner=helm", "-o", "name").split()
    return {*names, *records}


EVERYTHING = [effect for effect, _ in EFFECTS if not effect.startswith("crds.install")]


@pytest.mark.parametrize("values", [[], EVERYTHING], ids=["defaults", "every value"])
def test_the_api_server_takes_the_rendering(lab: Lab, namespace: str, values: list[str]) -> None:
    """With default values and with every value changed the objects pass the API server's own validation."""
    manifests = operator.render(namespace, values)
    applied = lab.kubectl("apply", "--dry-run=server", "-o", "name", "-f", "-", stdin=yaml.safe_dump_all(manifests))
    assert len(applied.split()) == len(manifests)


def bind_pod(lab: Lab) -> str:
    """What a scheduler does: gives the operator's pod a node. Returns the pod's name."""
    lab.kubectl(
        "wait", "--for=create", "pod", "-n", NAMESPACE, "-l", f"app.kubernetes.io/instance={RELEASE}", "--timeout=30s"
    )
    [pod] = lab.kubectl("get", "pods", "-n", NAMESPACE, "-o", "name").split()
    node = lab.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    name = pod.removeprefix("pod/")
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name},
        "target": {"kind": "Node", "name": node},
    }
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/binding"
    lab.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(binding))
    return name


def uninstall(lab: Lab) -> None:
    """As a user does it; then until the garbage collector has taken what belonged to the Deployment."""
    helm_on(lab, "uninstall", RELEASE, "--cascade=foreground", "--wait")
    lab.kubectl("wait", "--for=delete", f"deployment/{FULLNAME}", "-n", NAMESPACE, "--timeout=30s")


def test_install_and_uninstall(lab: Lab, namespace: str) -> None:
    """`helm install` brings a running pod under restricted Pod Security and says what to do next; `helm uninstall`
    leaves nothing but the CRD, and a second install finds that one and goes on. (The CRD of the lab is taken over.)"""
    notes = helm_on(lab, "install", RELEASE, CHART, "--take-ownership", "--force-conflicts")
    assert "pluginrelease.io/allowed-namespaces" in notes
    assert f"rollout status deployment/{FULLNAME}" in notes
    bind_pod(lab)
    lab.kubectl("rollout", "status", f"deployment/{FULLNAME}", "-n", NAMESPACE, "--timeout=60s")
    uninstall(lab)
    assert installed(lab) == set()
    lab.kubectl("get", operator.CRD)
    helm_on(lab, "install", RELEASE, CHART)
    uninstall(lab)
    assert installed(lab) == set()
    lab.kubectl("get", operator.CRD)


# --------------------------------------------------------------------------------- the operator's account


@pytest.fixture(scope="module")
def account(lab: Lab) -> Path:
    """A kubeconfig of the chart's ServiceAccount, for the host."""
    operator.install(lab)
    return lab.kubeconfig_for(operator.NAMESPACE, operator.service_account(), outside=True)


@pytest.mark.parametrize(
    ("verb", "resource", "allowed"),
    [
        ("watch", "pluginreleases.pluginrelease.io", True),
        ("create", "pluginreleases.pluginrelease.io", False),
        ("patch", "wasmplugins.extensions.istio.io", True),
        ("create", "pods/portforward", True),
        ("create", "pods/exec", False),
        ("delete", "pods", False),
        ("get", "secrets", True),
        ("list", "secrets", False),
        ("watch", "secrets", False),
        ("patch", "namespaces", False),
        ("create", "events", True),
        ("create", "deployments.apps", False),
        ("*", "*", False),
    ],
)
def test_the_account_may_do_its_work_and_no_more(
    lab: Lab, account: Path, verb: str, resource: str, allowed: bool
) -> None:
    """The API server's own answer to what the chart's ServiceAccount may do in any namespace."""
    mine = f"system:serviceaccount:{operator.NAMESPACE}:{operator.service_account()}"
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": mine, "resourceAttributes": {"verb": verb, **attributes(resource)}},
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer = json.loads(lab.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(review)))
    assert answer["status"]["allowed"] is allowed


def attributes(resource: str) -> dict[str, str]:
    """``pods/log`` and ``deployments.apps`` as a SubjectAccessReview spells them."""
    name, _, group = resource.partition(".")
    name, _, subresource = name.partition("/")
    return {"resource": name, "group": group, "subresource": subresource}


def test_a_refusal_is_seen(lab: Lab, account: Path) -> None:
    """A 403 to the operator's account is found in the audit log with verb and path; others' requests are not."""
    lab.kubectl("get", "secrets", "-n", operator.NAMESPACE)
    before = operator.forbidden(lab)
    with pytest.raises(LabError, match="forbidden"):
        lab.kubectl("get", "secrets", "-n", operator.NAMESPACE, "--kubeconfig", str(account))
    [refused] = operator.forbidden(lab)[len(before) :]
    assert refused.startswith(f"list /api/v1/namespaces/{operator.NAMESPACE}/secrets")
