"""What platform teams expect of a chart, by real Helm: whose objects these are, where they run, and as whom."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import click
import kopf
import pytest

from pluginrelease.cli import run as run_command
from pluginrelease.controller import handlers, lease, recorder
from pluginrelease.core.errors import Refused
from pluginrelease.edges import healthz
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease_lab.errors import LabError
from tests.edges import real_registry
from tests.edges.chart_values import CHART, NAMESPACE, Node, by_kind, containers, only, rendered
from tests.edges.real_envoy import free_port

TLS = Path(__file__).parents[1] / "fixtures" / "tls"
AUTHORITY = TLS / "self-signed.pem"
IDS = ("runAsUser", "runAsGroup", "fsGroup")
GUARDED = ("--set", "crds.keep=false")


def pods(manifests: list[Node]) -> list[Node]:
    """Every pod of the chart as (metadata and spec): the operator's, that of `helm test`, that of an uninstall."""
    templates = [it["spec"]["template"] for it in manifests if it["kind"] in ("Deployment", "Job")]
    found = [*templates, *by_kind(manifests, "Pod")]
    assert len(found) == 3
    return found


# --- accounts and roles ---


def test_an_account_that_is_there_is_used() -> None:
    """serviceAccount.create=false makes none: the pods and the binding name the one that is given."""
    found = rendered("--set", "serviceAccount.create=false,serviceAccount.name=theirs")
    assert by_kind(found, "ServiceAccount") == []
    assert only(found, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "theirs"
    assert only(found, "ClusterRoleBinding")["subjects"][0]["name"] == "theirs"


def test_an_account_that_nobody_named_is_asked_for() -> None:
    """Without a name the operator would run as `default`, with no right at all."""
    with pytest.raises(LabError, match=r"serviceAccount\.name"):
        rendered("--set", "serviceAccount.create=false")


def test_roles_can_be_somebody_elses() -> None:
    """rbac.create=false makes no role and no binding, those for people included."""
    found = rendered("--set", "rbac.create=false")
    assert [it["kind"] for it in found if "rbac" in it["apiVersion"]] == []


# --- labels ---


def test_common_labels_are_on_every_object() -> None:
    """On all but the CRD, which others use as well; they never take the place of the chart's own."""
    labels = '{"cost-center":"4711","app.kubernetes.io/name":"mine"}'
    for it in rendered(*GUARDED, "--set-json", f"commonLabels={labels}"):
        if it["kind"] != "CustomResourceDefinition":
            assert it["metadata"]["labels"]["cost-center"] == "4711", it["kind"]
        if it["kind"] == "Deployment":
            assert it["metadata"]["labels"]["app.kubernetes.io/name"] == "pluginrelease"
            assert it["spec"]["template"]["metadata"]["labels"]["cost-center"] == "4711"


def test_no_mesh_adds_a_proxy() -> None:
    """Each pod says no to Istio's sidecars and to its ambient mode; who wants one in the operator's pod may say so."""
    for pod in pods(rendered(*GUARDED)):
        labels = pod["metadata"]["labels"]
        assert (labels["sidecar.istio.io/inject"], labels["istio.io/dataplane-mode"]) == ("false", "none")
    wanted = rendered("--set-json", 'podLabels={"sidecar.istio.io/inject":"true"}')
    assert only(wanted, "Deployment")["spec"]["template"]["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"


# --- as whom it runs ---


@pytest.mark.parametrize(
    ("arguments", "unset"),
    [
        ([], False),
        (["--api-versions", "security.openshift.io/v1"], True),
        (["--set", "openshift.adaptSecurityContext=force"], True),
        (["--api-versions", "security.openshift.io/v1", "--set", "openshift.adaptSecurityContext=disabled"], False),
    ],
    ids=["elsewhere", "seen", "forced", "disabled"],
)
def test_openshift_gives_the_ids(arguments: list[str], unset: bool) -> None:
    """Where the cluster is OpenShift no pod asks for an id of its own; all else of its security stays."""
    for pod in pods(rendered(*GUARDED, *arguments)):
        context = pod["spec"]["securityContext"]
        assert [name in context for name in IDS] == [not unset] * 3
        assert (context["runAsNonRoot"], context["seccompProfile"]["type"]) == (True, "RuntimeDefault")
        [container] = pod["spec"]["containers"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_an_entry_of_the_security_context_can_go() -> None:
    """null takes one away, as some policies refuse what others demand."""
    context = only(rendered("--set", "podSecurityContext.fsGroup=null"), "Deployment")["spec"]["template"]["spec"]
    assert set(context["securityContext"]) == {"runAsNonRoot", "runAsUser", "runAsGroup", "seccompProfile"}


def test_every_pod_runs_where_it_is_told() -> None:
    """Priority, nodes, taints and pull secrets hold for the pods of hooks as well, which otherwise never start."""
    found = pods(
        rendered(
            *GUARDED,
            *("--set", "priorityClassName=high", "--set", "nodeSelector.pool=infra"),
            *("--set-json", 'tolerations=[{"key":"infra","operator":"Exists"}]'),
            *("--set-json", 'imagePullSecrets=[{"name":"keys"}]'),
        )
    )
    for pod in found:
        assert pod["spec"]["priorityClassName"] == "high"
        assert pod["spec"]["nodeSelector"] == {"pool": "infra"}
        assert pod["spec"]["tolerations"] == [{"key": "infra", "operator": "Exists"}]
        assert pod["spec"]["imagePullSecrets"] == [{"name": "keys"}]


# --- further arguments, and a company's authority ---


def test_further_arguments_win() -> None:
    """They come after the chart's own, and the operator takes the last."""
    [container] = containers(rendered("--set-json", 'extraArgs=["--resync=42s","--namespace=team-a"]'))
    with run_command.run.make_context("run", list(container["args"][1:])) as context:
        assert isinstance(context, click.Context)
        assert context.params["resync"] == 42.0
        assert context.params["namespaces"] == ("team-a",)


def mounted(manifests: list[Node], path: Path, secrets: Path) -> Path:
    """The file that a container's path is, where ``secrets`` has a folder for each Secret."""
    [container] = containers(manifests)
    volumes = {it["name"]: it for it in only(manifests, "Deployment")["spec"]["template"]["spec"]["volumes"]}
    [mount] = [it for it in container["volumeMounts"] if path.is_relative_to(it["mountPath"])]
    return secrets / volumes[mount["name"]]["secret"]["secretName"] / path.relative_to(mount["mountPath"])


def test_the_companys_authority_is_trusted(tmp_path: Path) -> None:
    """With the example's values the operator's registry client takes a registry of that authority, and no other."""
    found = rendered("--values", CHART / "examples" / "company-ca.yaml")
    [container] = containers(found)
    with run_command.run.make_context("run", list(container["args"][1:])) as context:
        file = mounted(found, context.params["registry_ca_file"], tmp_path)
    # the Secret as the file says how to make it
    assert file == tmp_path / "company-ca" / "ca.crt"
    file.parent.mkdir()
    file.write_bytes(AUTHORITY.read_bytes())
    plugin = tmp_path / "plugin.wasm"
    plugin.write_bytes(b"\0asm\1\0\0\0")
    with real_registry.running(tmp_path, tls=AUTHORITY) as real:
        place = real.reference("team/plugin:1")
        registry.push(place, plugin, Access(registry_ca=file.read_bytes()))
        assert registry.resolve(place, Access(registry_ca=file.read_bytes())).digest
        with pytest.raises(Refused) as raised:
            registry.resolve(place, Access())
        assert raised.value.reason == "RegistryTLS"


# --- both families of addresses ---


@contextlib.asynccontextmanager
async def answering(port: int) -> AsyncIterator[None]:
    """The operator's own server, with the answer that all is well."""
    async with healthz.serve(port, {"/readyz": healthz.make_handler(lambda: healthz.Health(True))}):
        yield


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_helm_test_asks_in_either_family(address: str) -> None:
    """The script of `helm test` reaches the operator's server by the address that a Service has, IPv4 or IPv6."""
    port = free_port("::1")
    [container] = only(rendered("--set", f"operator.livenessPort={port}"), "Pod")["spec"]["containers"]
    environ = {**os.environ, "READYZ_PLUGINRELEASE_SERVICE_HOST": address}
    async with answering(port):
        argv = [sys.executable, "-c", container["args"][0]]
        asked = await asyncio.create_subprocess_exec(*argv, env=environ, stdout=subprocess.PIPE)
        said, _ = await asyncio.wait_for(asked.communicate(), 60)
    assert (asked.returncode, said) == (0, b"/readyz says 200 ok\n\n")


def test_no_object_says_a_family() -> None:
    """Neither the probes nor the Service names an address or a family: the cluster's own is taken."""
    found = rendered()
    [container] = containers(found)
    for probe in ("livenessProbe", "readinessProbe"):
        assert "host" not in container[probe]["httpGet"]
    assert {"ipFamilies", "ipFamilyPolicy", "clusterIP"} & set(only(found, "Service")["spec"]) == set()
    assert only(found, "Service")["metadata"]["namespace"] == NAMESPACE


def test_the_operator_ends_within_the_grace_period() -> None:
    """What the operator waits for at its end, all one after the other, is shorter than the kubelet's patience."""
    settings = kopf.OperatorSettings()
    handlers.configure(settings)
    passes = settings.process.ultimate_exiting_timeout
    assert passes is not None
    longest = passes + recorder.DRAIN_SECONDS + lease.REQUEST_SECONDS
    assert longest < only(rendered(), "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
