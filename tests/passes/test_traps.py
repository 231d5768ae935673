"""Where gateways make a plugin look healthy and it is not: Ready says so, at once, and with the gateway's own words.

The releases here may take ten minutes to load, so a verdict that comes within a test's patience is no timeout.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.verdict.refusal import RefusalText
from pluginrelease_lab import Lab
from pluginrelease_lab.host import GatewayPod
from tests import wasm_modules
from tests.harness import evidence, gateways, registries
from tests.harness.cluster import (
    GATEWAY_NAMESPACE,
    JSON,
    LabCluster,
    conditions,
    is_ready,
    observed,
    plugin,
    ready,
    unique,
)

# words of the plugin and of Envoy
ASKED_TO_FAIL = "refuses-config: asked to fail"
NOT_CONFIGURED = "Failed to configure base Wasm plugin"

PATIENT = {"load": {"timeout": "10m"}}
# the traps are looked at as they are: nothing is put back
HOLD = {"onFailure": "Hold"}
REFUSE = {"fail": True}


def rows(release: JSON) -> dict[str, JSON]:
    """What status says of each pod, by its name."""
    return {row["name"]: row for row in release["status"]["pods"]}


def shown(release: JSON, reason: str) -> bool:
    """Whether Ready has this reason for the newest generation."""
    return observed(release) and bool(ready(release)["reason"] == reason)


def says(value: str) -> Callable[[int, dict[str, str], str], bool]:
    """Answered through the plugin that adds ``x-plugin: value``."""
    return lambda status, headers, _: status == 200 and headers.get("x-plugin") == value


def answer(cluster: LabCluster, pod: GatewayPod) -> tuple[int, str | None, str]:
    """Status, header x-plugin and body of what one pod answers."""
    found = cluster.lab.request(pod.address, 8080)
    return found.status, found.headers.get("x-plugin"), found.body.decode()


def shown_as_current(lab: Lab, pod: GatewayPod, name: str) -> Any:
    """The plugin's configuration in the gateway's own configuration dump."""

    [found] = [
        entry["ecds_filter"]["typed_config"]["config"]["configuration"]["value"]
        for section in json.loads(gateways.ask_admin(lab, pod, "/config_dump?mask=ecds_filters"))["configs"]
        for entry in section["ecds_filters"]
        if f"{pod.namespace}.{name}~" in entry["ecds_filter"]["name"]
    ]
    return json.loads(found)


# ------------------------------------------------------------------------------- refused by Envoy, shown as current


def await_rejected_by_all(cluster: LabCluster, name: str) -> JSON:
    """The first gateway that refuses makes the release PluginRejected; the others follow."""
    return cluster.await_release(
        name,
        lambda it: (
            observed(it)
            and ready(it)["reason"] == "PluginRejected"
            and it["status"]["summary"]["failed"] == len(cluster.gateways())
        ),
    )


def test_old_code_that_goes_on_serving_is_not_ready(
    cluster: LabCluster, built: Callable[[str], Path], tmp_path: Path
) -> None:
    """A configuration that the plugin refuses shows in the gateway as current while the old one serves: the release
    is not Ready, tells the gateway's own line, and is Ready again when the configuration is put right."""
    name, ref = unique("refused-config"), cluster.push(built("refuses-config"), tmp_path)

    def configured(config: JSON) -> None:
        cluster.apply(cluster.manifest(name, ref, plugin=plugin(config=config), checks=PATIENT, rollout=HOLD))

    configured({"fail": False})
    cluster.await_ready(name)
    cluster.await_answers(says("refuses-config"))

    configured(REFUSE)
    release = await_rejected_by_all(cluster, name)
    assert all(says("refuses-config")(*answer) for answer in cluster.answers()), "the old code goes on serving"
    assert [shown_as_current(cluster.lab, pod, name) for pod in cluster.gateways()] == [REFUSE, REFUSE]
    assert release["status"]["phase"] == "Held"
    assert conditions(release)["Stalled"]["status"] == "True"
    assert release["status"]["summary"]["pods"] == "0/2"
    assert release["status"]["summary"]["failed"] == 2
    assert RefusalText.OLD_CODE_RUNS in ready(release)["message"]
    assert ASKED_TO_FAIL in ready(release)["message"]

    configured({"fail": False})
    assert cluster.await_ready(name)["status"]["summary"]["pods"] == "2/2"


def test_a_module_that_only_a_gateway_can_refuse(cluster: LabCluster, tmp_path: Path) -> None:
    """An image with which everything seems right and that traps when it is started replaces a good one: not Ready,
    with the trap in the gateway's own words, while the old one serves; and Ready again with the old image."""
    name = unique("traps")
    good = cluster.push(wasm_modules.answering(name), tmp_path)
    bad = cluster.push(wasm_modules.traps_at_start(), tmp_path)
    cluster.apply(cluster.manifest(name, good, checks=PATIENT, rollout=HOLD))
    cluster.await_ready(name)
    cluster.await_answers(says(name))

    cluster.apply(cluster.manifest(name, bad, checks=PATIENT, rollout=HOLD))
    release = await_rejected_by_all(cluster, name)
    assert all(says(name)(*answer) for answer in cluster.answers()), "the old code goes on serving"
    assert "proxy_on_vm_start failed" in ready(release)["message"]
    assert release["status"]["summary"]["failed"] == 2

    cluster.apply(cluster.manifest(name, good, checks=PATIENT, rollout=HOLD))
    cluster.await_ready(name)


def test_a_first_release_that_is_refused(cluster: LabCluster, tmp_path: Path) -> None:
    """Where nothing ran before, a refused plugin leaves the gateways answering 500 to everyone: status says that, and
    the gateways answer again as soon as the release is deleted."""
    name = unique("refused-first")
    ref = cluster.push(wasm_modules.answering(name, refuses_configuration=True), tmp_path)
    cluster.apply(cluster.manifest(name, ref, plugin=plugin(config=REFUSE), checks=PATIENT, rollout=HOLD))
    release = cluster.await_reason(name, "PluginRejected")
    cluster.await_answers(lambda status, _, body: status == 500 and body == "")
    assert RefusalText.NO_CODE_RUNS in ready(release)["message"]
    assert NOT_CONFIGURED in ready(release)["message"]

    cluster.delete("prel", GATEWAY_NAMESPACE, name)
    cluster.await_answers(lambda status, *_: status == 200)


def test_nobody_is_blamed_for_a_neighbour(cluster: LabCluster, tmp_path: Path) -> None:
    """Of two releases on the same gateways one is refused: the other one stays Ready, also when it is changed and
    looked at anew while the gateways still refuse the neighbour."""
    good, bad = unique("good"), unique("bad")
    good_ref = cluster.push(wasm_modules.answering(good), tmp_path)
    bad_ref = cluster.push(wasm_modules.answering(bad, refuses_configuration=True), tmp_path)
    cluster.apply(cluster.manifest(good, good_ref, plugin=plugin(priority=1), checks=PATIENT, rollout=HOLD))
    cluster.apply(cluster.manifest(bad, bad_ref, plugin=plugin(priority=2), checks=PATIENT, rollout=HOLD))
    cluster.await_ready(good)
    cluster.await_ready(bad)

    cluster.apply(
        cluster.manifest(bad, bad_ref, plugin=plugin(priority=2, config=REFUSE), checks=PATIENT, rollout=HOLD)
    )
    refused = cluster.await_reason(bad, "PluginRejected")
    assert f"{GATEWAY_NAMESPACE}.{good}" not in ready(refused)["message"]

    cluster.apply(
        cluster.manifest(good, good_ref, plugin=plugin(priority=1, config={"new": 1}), checks=PATIENT, rollout=HOLD)
    )
    verdicts = set()

    def settled(release: JSON) -> bool:
        verdicts.add((ready(release)["status"], release.get("status", {}).get("phase")))
        return is_ready(release)

    cluster.await_release(good, settled)
    assert not {phase for _, phase in verdicts} & {"Unhealthy", "Unknown"}
    assert ready(cluster.release(bad))["reason"] == "PluginRejected"

    worse = {"fail": "again"}
    cluster.apply(cluster.manifest(bad, bad_ref, plugin=plugin(priority=2, config=worse), checks=PATIENT, rollout=HOLD))
    cluster.await_release(bad, lambda it: shown(it, "PluginRejected"))
    cluster.operator.kill()
    cluster.operator.start()
    cluster.apply(cluster.manifest(good, good_ref, plugin=plugin(priority=1, config={"new": 1}), suspend=True))
    cluster.await_release(good, lambda it: observed(it) and ready(it)["reason"] == "Suspended")
    cluster.apply(cluster.manifest(good, good_ref, plugin=plugin(priority=1, config={"new": 1}), suspend=False))
    looked = cluster.await_release(good, lambda it: observed(it) and ready(it)["reason"] != "Suspended")
    assert is_ready(looked), ready(looked)


def test_a_plugin_that_blocks_its_neighbours_and_is_mended(cluster: LabCluster, tmp_path: Path) -> None:
    """While a gateway refuses a plugin, no other can be put on its listeners: that is said, and who is to blame. The
    mended plugin is Ready although the listener's refused update still names it."""
    bad, new = unique("bad"), unique("new")
    bad_ref = cluster.push(wasm_modules.answering(bad, refuses_configuration=True), tmp_path)
    new_ref = cluster.push(wasm_modules.answering(new), tmp_path)
    cluster.apply(cluster.manifest(bad, bad_ref, checks=PATIENT, rollout=HOLD))
    cluster.await_ready(bad)
    cluster.apply(cluster.manifest(bad, bad_ref, plugin=plugin(config=REFUSE), checks=PATIENT, rollout=HOLD))
    cluster.await_reason(bad, "PluginRejected")

    cluster.apply(cluster.manifest(new, new_ref, checks=PATIENT, rollout=HOLD))
    blocked = cluster.await_release(new, lambda it: bad in ready(it)["message"])
    assert ready(blocked)["status"] == "False"
    assert ready(blocked)["reason"] in (Reason.AWAITING_CONFIG, Reason.CONFIG_NOT_DELIVERED, Reason.LISTENER_REJECTED)

    cluster.apply(cluster.manifest(bad, bad_ref, checks=PATIENT, rollout=HOLD))
    cluster.await_ready(bad)


# ------------------------------------------------------------------------------------------- what cannot be fetched


def test_a_gateway_that_cannot_fetch(cluster: LabCluster, registry: registries.Registry) -> None:
    """A gateway that starts while the registry is in trouble is told by name, at once.

    While the registry hangs, the pod is not ready: the release says so, and stays Ready. With the registry down, the
    gateway answers 403 to everyone; with FAIL_OPEN it lets everyone pass without the plugin, which is no better. A
    change of the release makes the gateway fetch again.
    """
    name = unique("unfetched")
    gateways.deploy(cluster, name, replicas=1)
    ref = registry.push(wasm_modules.answering(name), name)

    def release(strategy: str) -> None:
        gateway = {"provider": "Istio", "namespace": name, "selector": {"matchLabels": {"istio": name}}}
        spec: dict[str, Any] = {
            "gateway": gateway,
            "plugin": plugin(failStrategy=strategy),
            "checks": PATIENT,
            "rollout": HOLD,
        }
        cluster.apply(cluster.manifest(name, ref, namespace=name, **spec))

    def scale(replicas: int) -> None:
        cluster.lab.kubectl("scale", f"deployment/{name}", "-n", name, f"--replicas={replicas}")

    release("FAIL_CLOSE")
    cluster.await_ready(name, namespace=name)
    [old] = cluster.gateways(name)
    with registry.hanging():
        scale(2)
        waiting = cluster.await_release(name, lambda it: it["status"]["summary"]["pods"] == "1/2", namespace=name)
        assert is_ready(waiting), "a pod that comes up is no news about the plugin"
        assert f"{name}-" in ready(waiting)["message"]
    cluster.await_release(name, lambda it: is_ready(it) and it["status"]["summary"]["pods"] == "2/2", namespace=name)

    registry.stop()
    [unlucky] = [pod.name for pod in cluster.gateways(name) if pod != old]
    cluster.delete("pod", name, unlucky)
    failed = cluster.await_reason(name, "FetchFailed", namespace=name)
    [new] = [pod for pod in cluster.gateways(name) if pod.name != old.name]
    assert rows(failed)[old.name]["state"] == "Loaded"
    assert rows(failed)[new.name]["reason"] == "FetchFailed"
    assert failed["status"]["summary"]["pods"] == "1/2"
    assert new.name in ready(failed)["message"]
    assert " 403 " in ready(failed)["message"]
    assert "connection refused" in ready(failed)["message"]
    assert answer(cluster, new) == (403, None, "RBAC: access denied")
    assert answer(cluster, old)[:2] == (200, name)

    release("FAIL_OPEN")
    unprotected = cluster.await_reason(name, "RunningUnprotected", namespace=name)
    assert rows(unprotected)[new.name]["reason"] == "RunningUnprotected"
    assert rows(unprotected)[old.name]["state"] == "Loaded"
    assert answer(cluster, new)[:2] == (200, None), "requests pass without the plugin"

    registry.start()
    release("FAIL_CLOSE")
    healed = cluster.await_ready(name, namespace=name)
    assert healed["status"]["summary"]["pods"] == "2/2"
    assert [answer(cluster, pod)[:2] for pod in (old, new)] == [(200, name), (200, name)]


def test_a_registry_whose_challenge_gateways_refuse(cluster: LabCluster, registry: registries.Registry) -> None:
    """Istio's agent refuses a private registry for a realm that is no public URL, though the password is right and
    everybody else gets in: that is told before any gateway answers 403 to everyone."""
    name = unique("realm")
    ref = registry.push(wasm_modules.answering(name), name)
    registry.stop()
    registry.realm = "anything"
    registry.start()
    cluster.apply(registries.pull_secret(name, GATEWAY_NAMESPACE, registry.host, cluster.lab.private_credentials))
    image = {"ref": ref, "insecure": True, "pullSecretRef": {"name": name}}
    cluster.apply(cluster.manifest(name, ref, artifact={"image": image}))
    release = cluster.await_reason(name, "RegistryChallengeRefused")
    assert conditions(release)["ArtifactReady"]["status"] == "True", "the password is right"
    assert conditions(release)["Stalled"]["status"] == "True"
    assert "https URL" in ready(release)["message"]
    assert (GATEWAY_NAMESPACE, name) not in evidence.written(cluster.lab)
    assert [status for status, *_ in cluster.answers()] == [200, 200]
