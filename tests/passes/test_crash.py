"""The operator is killed at one exact request; the next one goes on from what is in the API server.

The API server has taken the write, and the operator dies before it hears of it. Whatever it wrote before is found
again: nothing is written twice, and nothing is left behind.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pluginrelease import api
from pluginrelease.core.mesh import istio, target
from pluginrelease.core.mesh.placement import placements
from tests import wasm_modules
from tests.harness import evidence, gateways, interruption, registries
from tests.harness.cluster import GATEWAY_NAMESPACE, JSON, LabCluster, Operator, unique
from tests.harness.interrupter import InterruptOrder

LEVEL = "error"
SECONDS = 60.0


@contextmanager
def killed_at(cluster: LabCluster, folder: Path, method: str, path: str, body: str = "") -> Iterator[None]:
    """In place of the session's operator one runs that dies at this request; on leaving it has died, and none runs."""
    cluster.operator.stop()
    with interruption.relay(cluster.lab, folder) as relay:
        doomed = Operator(cluster.lab, cluster.operator.log, ("--kubeconfig", str(relay.kubeconfig)))
        doomed.start()
        assert doomed.process is not None
        relay.take(InterruptOrder(doomed.process.pid, method, path, body))
        try:
            yield
            relay.await_line("interrupted")
            assert doomed.process.wait(SECONDS) == -signal.SIGKILL
        finally:
            doomed.kill()


@pytest.fixture
def gateways_at_error(cluster: LabCluster) -> LabCluster:
    """The gateways' filter logger has a level that is nobody's default."""
    for pod in cluster.gateways():
        gateways.filter_level(cluster.lab, pod, LEVEL)
    return cluster


def levels(cluster: LabCluster) -> set[str]:
    """Of the filter logger, in all gateways."""
    return {gateways.filter_level(cluster.lab, pod) for pod in cluster.gateways()}


def writes(cluster: LabCluster, resource: str, name: str) -> int:
    """How often the operators asked to write the object in the gateways' namespace."""
    return evidence.written(cluster.lab, resource).count((GATEWAY_NAMESPACE, name))


def await_gone(cluster: LabCluster, namespace: str, name: str) -> None:
    """The release itself, which goes last."""
    cluster.lab.kubectl("wait", "--for=delete", f"prel/{name}", "-n", namespace, "--timeout=60s", timeout=90)


def nothing_is_left(cluster: LabCluster, name: str) -> bool:
    """No WasmPlugin and no copied secret of this name in the gateways' namespace."""
    kinds = (("wasmplugin", name), ("secret", f"{name}-pull"))
    return all(cluster.get(kind, GATEWAY_NAMESPACE, one) is None for kind, one in kinds)


# ------------------------------------------------------------------------------------------------- in one namespace


def test_killed_with_the_loggers_noted_and_not_yet_raised(gateways_at_error: LabCluster, tmp_path: Path) -> None:
    """What was noted is the level from before, so the next operator raises the loggers and puts that level back."""
    cluster, name = gateways_at_error, unique("noted")
    ref = cluster.push(wasm_modules.answering(name), tmp_path)
    with killed_at(cluster, tmp_path, "PATCH", f"/pluginreleases/{name}/status", r'"raisedLoggers": ?\[\{'):
        cluster.apply(cluster.manifest(name, ref))
    assert levels(cluster) == {LEVEL}
    assert writes(cluster, istio.TARGET.plural, name) == 0

    cluster.operator.start()
    cluster.await_ready(name)
    assert levels(cluster) == {LEVEL}
    assert writes(cluster, istio.TARGET.plural, name) == 1


def test_killed_with_the_plugin_written_and_not_told(gateways_at_error: LabCluster, tmp_path: Path) -> None:
    """The next operator finds the WasmPlugin as wanted: it only looks, tells, and puts the log levels back."""
    cluster, name = gateways_at_error, unique("written")
    ref = cluster.push(wasm_modules.answering(name), tmp_path)
    with killed_at(cluster, tmp_path, "PATCH", f"/wasmplugins/{name}"):
        cluster.apply(cluster.manifest(name, ref))
    assert levels(cluster) == {"debug"}
    assert not any("object" in row for row in cluster.release(name)["status"].get("gateways", []))

    cluster.operator.start()
    cluster.await_ready(name)
    assert levels(cluster) == {LEVEL}
    assert writes(cluster, istio.TARGET.plural, name) == 1, "written once, by the operator that died"


def test_a_first_plugin_that_fails_goes_though_its_successor_is_refused(
    gateways_at_error: LabCluster, tmp_path: Path
) -> None:
    """The spec was changed before anybody saw that gateways refuse the plugin, and the change is wrong as well: what
    was written is taken off, as it would have been without the change, and Ready tells of the change."""
    cluster, name = gateways_at_error, unique("overtaken")
    ref = cluster.push(wasm_modules.answering(name, refuses_configuration=True), tmp_path)
    refusing = {"phase": "AUTHN", "config": {"fail": True}}
    with killed_at(cluster, tmp_path, "PATCH", f"/wasmplugins/{name}"):
        cluster.apply(cluster.manifest(name, ref, plugin=refusing))
    assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, name)
    cluster.apply(cluster.manifest(name, f"{ref}-typo", plugin=refusing))

    cluster.operator.start()
    cluster.lab.kubectl(
        "wait", "--for=delete", f"wasmplugin/{name}", "-n", GATEWAY_NAMESPACE, "--timeout=60s", timeout=90
    )
    release = cluster.await_reason(name, "ManifestNotFound")
    assert release["status"]["observedGeneration"] == 2
    assert levels(cluster) == {LEVEL}
    cluster.await_answers(lambda status, headers, _: status == 200 and "x-plugin" not in headers)


def test_deleted_while_no_operator_runs(gateways_at_error: LabCluster, tmp_path: Path) -> None:
    """A release that was under way when the operator died, and is deleted before the next one starts, waits for it:
    then the plugin is taken off, the log levels are put back, and only then does the release go."""
    cluster, name = gateways_at_error, unique("deleted")
    ref = cluster.push(wasm_modules.answering(name), tmp_path)
    with killed_at(cluster, tmp_path, "PATCH", f"/wasmplugins/{name}"):
        cluster.apply(cluster.manifest(name, ref))
    cluster.lab.kubectl("delete", "prel", name, "-n", GATEWAY_NAMESPACE, "--wait=false")
    assert cluster.release(name)["metadata"]["finalizers"] == [api.FINALIZER]
    assert levels(cluster) == {"debug"}

    cluster.operator.start()
    await_gone(cluster, GATEWAY_NAMESPACE, name)
    assert nothing_is_left(cluster, name)
    assert levels(cluster) == {LEVEL}
    cluster.await_answers(lambda status, headers, _: status == 200 and "x-plugin" not in headers)


# ------------------------------------------------------------------------- across namespaces, with a private registry


@pytest.fixture
def abroad(cluster: LabCluster, tmp_path: Path) -> Iterator[JSON]:
    """A release in a namespace of its own, with a pull secret: nothing that it writes has an owner reference."""
    name = unique("abroad")
    lab = cluster.lab
    secret = registries.pull_secret("login", name, lab.private_registry, lab.private_credentials)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    cluster.apply(secret)
    allowed = f"{api.ALLOWED_NAMESPACES_ANNOTATION}={name}"
    lab.kubectl("annotate", "namespace", GATEWAY_NAMESPACE, allowed, "--overwrite")
    module = tmp_path / "module.wasm"
    module.write_bytes(wasm_modules.answering(name))
    ref = registries.push_private(lab, module, f"tests/{name}:1.0")
    image = {"ref": ref, "insecure": True, "pullSecretRef": {"name": "login"}}
    yield cluster.manifest(name, ref, namespace=name, artifact={"image": image})
    cluster.clean_up()
    lab.kubectl("annotate", "namespace", GATEWAY_NAMESPACE, f"{api.ALLOWED_NAMESPACES_ANNOTATION}-")


def written_as(release: JSON) -> str:
    """The name of the WasmPlugin of its only entry."""
    [placement] = placements(api.Release.model_validate(release))
    return target.name_object(placement)


def test_killed_with_the_pull_secret_copied(cluster: LabCluster, abroad: JSON, tmp_path: Path) -> None:
    """The copy is found again and not written anew; with the release it goes."""
    namespace = name = abroad["metadata"]["name"]
    with killed_at(cluster, tmp_path, "PATCH", f"/namespaces/{GATEWAY_NAMESPACE}/secrets/"):
        release = cluster.apply(abroad)
    theirs = written_as(release)
    assert writes(cluster, istio.TARGET.plural, theirs) == 0
    assert cluster.get("secret", GATEWAY_NAMESPACE, f"{theirs}-pull") is not None

    cluster.operator.start()
    cluster.await_ready(name, namespace=namespace)
    assert writes(cluster, "secrets", f"{theirs}-pull") == 1
    assert writes(cluster, istio.TARGET.plural, theirs) == 1

    cluster.delete("prel", namespace, name)
    assert nothing_is_left(cluster, theirs)


def test_killed_in_the_middle_of_a_delete(cluster: LabCluster, abroad: JSON, tmp_path: Path) -> None:
    """The WasmPlugin is gone and the release is not: the next operator takes the secret's copy away, then lets go."""
    namespace = name = abroad["metadata"]["name"]
    theirs = written_as(cluster.apply(abroad))
    cluster.await_ready(name, namespace=namespace)
    with killed_at(cluster, tmp_path, "DELETE", f"/wasmplugins/{theirs}"):
        cluster.lab.kubectl("delete", "prel", name, "-n", namespace, "--wait=false")
    assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, theirs) is None
    assert cluster.get("secret", GATEWAY_NAMESPACE, f"{theirs}-pull") is not None
    assert cluster.release(name, namespace)["metadata"]["finalizers"] == [api.FINALIZER]

    cluster.operator.start()
    await_gone(cluster, namespace, name)
    assert nothing_is_left(cluster, theirs)
