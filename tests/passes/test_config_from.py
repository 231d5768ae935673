"""Values of Secrets in a plugin's configuration: they reach real gateways, come back, and are found nowhere else."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pluginrelease import api
from pluginrelease.core import placeholders
from tests import wasm_modules
from tests.harness import evidence, gateways
from tests.harness.cluster import GATEWAY_NAMESPACE, JSON, LabCluster, observed, plugin, ready, unique

GOOD, BAD, NEXT = "planted-good", "planted-bad-and-too-long-for-this-plugin", "planted-next"
MOST = len(json.dumps({"upstream": {"token": BAD}}, separators=(",", ":")))


class Planted(NamedTuple):
    """A release that runs with the value `GOOD` of its Secret."""

    cluster: LabCluster
    name: str
    manifest: JSON

    def give(self, value: str) -> None:
        """Put a value into the Secret, and let the operator look now and not at the resync."""
        self.cluster.apply(secret(self.name, value))
        self.cluster.retry(self.name)

    def token(self) -> str:
        """The value in the WasmPlugin."""
        found = self.cluster.get("wasmplugin", GATEWAY_NAMESPACE, self.name)
        assert found is not None
        return str(found["spec"]["pluginConfig"]["upstream"]["token"])


def secret(name: str, value: str) -> JSON:
    metadata = {"name": name, "namespace": GATEWAY_NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": value}}


def came_to(phase: str) -> Callable[[JSON], bool]:
    return lambda it: observed(it) and it["status"].get("phase") == phase


@pytest.fixture
def planted(cluster: LabCluster, tmp_path: Path) -> Planted:
    name = unique("values")
    ref = cluster.push(wasm_modules.telling(name, MOST), tmp_path)
    source = {"kind": "Secret", "name": name, "key": "token", "path": "/upstream/token"}
    manifest = cluster.manifest(name, ref, plugin=plugin(configFrom=[source]))
    cluster.apply(secret(name, GOOD))
    cluster.apply(manifest)
    cluster.await_ready(name)
    return Planted(cluster, name, manifest)


def everything_said(planted: Planted) -> dict[str, str]:
    """What may be read of the release outside of Secrets, the WasmPlugin and the gateway, by where it is."""
    lab, where = planted.cluster.lab, ("-n", GATEWAY_NAMESPACE, "-o", "json")
    return {
        "the release": json.dumps(planted.cluster.release(planted.name)),
        "ControllerRevisions": lab.kubectl("get", "controllerrevisions", *where),
        "Events": lab.kubectl("get", "events", "-A", "-o", "json"),
        "the operator's log": planted.cluster.operator.log.read_text(),
        "the audit log": "".join(json.dumps(event) for event in evidence.by_operator(lab)),
    }


def test_a_bad_value_goes_back_and_is_quoted_nowhere(planted: Planted) -> None:
    """The gateways refuse the new value, and the plugin logs it: the old one is put back although no Secret of the user
    has it any more, and neither is in anything that the operator says."""
    cluster, name = planted.cluster, planted.name
    assert planted.token() == GOOD
    assert all(GOOD in gateways.ask_admin(cluster.lab, pod, "/config_dump") for pod in cluster.gateways())
    stable = cluster.release(name)["status"]["stableRevision"]

    planted.give(BAD)
    rolled_back = cluster.await_release(name, came_to("RolledBack"))
    assert (ready(rolled_back)["reason"], planted.token()) == ("PluginRejected", GOOD)
    failed = rolled_back["status"]["rollout"]["failure"]
    assert placeholders.HIDDEN in failed["message"], "the plugin's own line is quoted, without the value"

    cluster.delete("secret", GATEWAY_NAMESPACE, name)
    patch = json.dumps({"spec": {"pluginConfig": {"upstream": {"token": "of another hand"}}}})
    cluster.lab.kubectl("patch", "wasmplugin", name, "-n", GATEWAY_NAMESPACE, "--type=merge", "-p", patch)
    evidence.until(
        cluster.lab,
        "wasmplugin",
        GATEWAY_NAMESPACE,
        name,
        lambda it: it["spec"]["pluginConfig"]["upstream"]["token"] == GOOD,
    )
    assert cluster.release(name)["status"]["stableRevision"] == stable

    planted.give(NEXT)
    corrected = cluster.await_release(name, came_to("Ready"))
    assert (planted.token(), corrected["status"]["stableRevision"] == stable) == (NEXT, False)
    cluster.await_answers(lambda status, headers, _: headers.get("x-plugin") == name)

    for place, text in everything_said(planted).items():
        for value in (GOOD, BAD, NEXT):
            assert value not in text, place
            assert base64.b64encode(value.encode()).decode() not in text, place
    kept = cluster.lab.kubectl("get", "secrets", "-n", GATEWAY_NAMESPACE, "-l", f"{api.UID_LABEL}", "-o", "json")
    ours = [one for one in json.loads(kept)["items"] if one["metadata"]["name"].startswith(f"{name}-")]
    revisions = {f"{name}-{entry['revision']}-config" for entry in corrected["status"]["history"]}
    assert {one["metadata"]["name"] for one in ours} == {*revisions, f"{name}-config-key"}
    assert all(one["immutable"] for one in ours)


def test_what_runs_stays_while_the_secret_is_missing(planted: Planted) -> None:
    """The release says which Secret is missing, and the gateways go on."""
    cluster, name = planted.cluster, planted.name
    cluster.delete("secret", GATEWAY_NAMESPACE, name)
    cluster.retry(name)
    cluster.await_reason(name, "ConfigSourceNotFound")
    assert planted.token() == GOOD
    assert [headers["x-plugin"] for _, headers, _ in cluster.answers()] == [name] * len(cluster.gateways())
    planted.give(GOOD)
    cluster.await_ready(name)
