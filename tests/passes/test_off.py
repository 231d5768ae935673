"""Off and on, on real gateways: at once, whatever is wrong, and until somebody says on."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from pluginrelease import api
from tests import wasm_modules
from tests.harness import evidence, gateways, registries
from tests.harness.cluster import GATEWAY_NAMESPACE, JSON, LabCluster, conditions, observed, ready, unique
from tests.passes.hanging import SOON, await_operator, hanging_pass, seconds_after
from tests.passes.test_gateway_crashes import on
from tests.passes.test_rollback import annotate, says


def is_off(release: JSON) -> bool:
    """The plugin is on no gateway, for the newest spec."""
    about = conditions(release)
    stalled = about.get("Stalled", {}).get("status") == "True" and "Reconciling" not in about
    return (
        observed(release)
        and stalled
        and (ready(release)["status"], ready(release)["reason"])
        == (
            "False",
            "SwitchedOff",
        )
    )


def test_off_lasts_until_on(cluster: LabCluster, tmp_path: Path) -> None:
    """The plugin leaves every gateway; neither the annotation's removal, nor a new image, nor a retry brings it back.
    On rolls out what the spec says then. The history stays."""
    name = unique("switched")
    first, second = (cluster.push(wasm_modules.answering(f"{name}-{word}"), tmp_path) for word in ("a", "b"))
    applied = cluster.apply(cluster.manifest(name, first))
    stable = cluster.await_ready(name)["status"]["stableRevision"]
    annotate(cluster, name, api.OFF_ANNOTATION, "1: it drops requests")
    gone = cluster.await_release(name, is_off)
    assert "it drops requests" in ready(gone)["message"]
    assert (gone["status"]["phase"], gone["status"]["summary"]["pods"]) == ("Off", "0/2")
    assert gone["status"]["handled"]["off"] == "1: it drops requests"
    assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, name) is None
    cluster.await_answers(says(None))
    evidence.await_events(cluster.lab, applied, {"SwitchedOff"})

    annotate(cluster, name, api.OFF_ANNOTATION)
    cluster.apply(cluster.manifest(name, second))
    annotate(cluster, name, api.RETRY_ANNOTATION, "1")
    still = cluster.await_release(name, lambda it: is_off(it) and it["status"]["handled"].get("retry") == "1")
    assert [entry["revision"] for entry in still["status"]["history"]] == [stable]
    assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, name) is None

    annotate(cluster, name, api.ON_ANNOTATION, "1")
    back = cluster.await_release(name, lambda it: ready(it)["status"] == "True")
    assert "switchedOff" not in back["status"]
    cluster.await_answers(says(f"{name}-b"))


def test_off_does_not_wait_for_a_registry(
    cluster: LabCluster, registry: registries.Registry, held: tuple[str, str]
) -> None:
    """In the middle of a rollout, while a pass waits for a registry, the plugin is off the gateways within a second."""
    name, _ = held
    with hanging_pass(cluster, registry, name):
        began = datetime.now(UTC).isoformat()
        token = f"{api.OFF_ANNOTATION}=1: the registry hangs"
        cluster.lab.kubectl("annotate", api.PLURAL, name, "-n", GATEWAY_NAMESPACE, token)
        asked = datetime.now(UTC)
        deleted = await_operator(cluster, "delete", name, began)
        assert seconds_after(deleted, asked) < SOON
        cluster.await_release(name, is_off)


def test_off_ends_an_outage_of_a_suspended_release(cluster: LabCluster, tmp_path: Path) -> None:
    """Gateways crash of a plugin that nobody looks at any more: off takes it away, and they serve again."""
    namespace, name = unique("outage"), unique("switched")
    gateways.deploy(cluster, namespace, replicas=2)
    deadly = cluster.push(wasm_modules.answering_until_trapped(name), tmp_path)
    cluster.apply(cluster.manifest(name, deadly, **on(namespace)))
    cluster.await_ready(name, namespace=namespace)
    cluster.apply(cluster.manifest(name, deadly, **on(namespace), suspend=True))
    cluster.await_release(name, lambda it: it["status"].get("phase") == "Suspended", namespace=namespace)
    for pod in cluster.gateways(namespace):
        cluster.lab.request(pod.address, 8080, headers={"x-trap": "1"})
    began = time.monotonic()
    cluster.lab.kubectl("annotate", api.PLURAL, name, "-n", namespace, f"{api.OFF_ANNOTATION}=1: it traps")
    cluster.await_release(name, is_off, namespace=namespace)
    assert time.monotonic() - began < 10
    while {cluster.lab.request(pod.address, 8080).status for pod in cluster.gateways(namespace)} != {200}:
        assert time.monotonic() - began < 60
        time.sleep(0.2)
