"""The chart by real Helm: linted, and what its objects say."""

from __future__ import annotations

import tomllib

import click
import pytest
import yaml

import pluginrelease
from pluginrelease import api
from pluginrelease.cli import crd as crd_command
from pluginrelease.cli import run as run_command
from pluginrelease_lab import operator
from tests.edges.chart_values import CHART, CHECKOUT, NAMESPACE, Node, by_kind

EVERY_FLAG = [
    "operator.allowPrivateRealms=true",
    "operator.allowNativeCode=true",
    "operator.restartHungGateways=false",
    'operator.allowedRegistries=["ghcr.io/team","docker.io"]',
    'operator.higressGatewayLabels=["higress=edge","team-a:higress=edge"]',
    'operator.privateRealmsOf=["registry.internal:5000"]',
    'operator.trustedRootConfigMap="sigstore"',
    'operator.registryCAConfigMap="corporate"',
    'watchNamespaces=["team-a","team-b"]',
    'gatewayNamespaces=["edge"]',
]


@pytest.fixture(scope="module")
def rendered() -> list[Node]:
    """The objects with default values."""
    return operator.render(NAMESPACE)


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
    assert flags - given == {"--kubeconfig"}


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


def test_installs_meet_at_one_lease(rendered: list[Node]) -> None:
    """Two installs in two namespaces have their right to the Lease in the same namespace, which is not theirs."""
    other = operator.render("elsewhere")
    for kind in ("Role", "RoleBinding"):
        [ours], [theirs] = by_kind(rendered, kind), by_kind(other, kind)
        assert ours["metadata"]["namespace"] == theirs["metadata"]["namespace"] == "kube-system"


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
    secrets = [rule for rule in role["rules"] if "secrets" in rule["resources"]]
    assert {verb for rule in secrets for verb in rule["verbs"]} == {"get", "create", "patch", "delete"}
    assert not any("*" in part for rule in role["rules"] for part in (*rule["verbs"], *rule["resources"]))


def test_names_keep_inside_their_limit() -> None:
    """A long release name is cut where Kubernetes would refuse it."""
    text = operator.helm("template", "r" * 53, CHART)
    names = {manifest["metadata"]["name"] for manifest in yaml.safe_load_all(text) if manifest}
    assert all(len(name) <= 70 for name in names)
    [account] = by_kind([manifest for manifest in yaml.safe_load_all(text) if manifest], "ServiceAccount")
    assert len(account["metadata"]["name"]) <= 63
