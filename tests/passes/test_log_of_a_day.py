"""The operator's log with real gateways: ten releases at rest write nothing, and one rollout a few lines."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pluginrelease_lab import Lab, network
from tests import wasm_modules
from tests.harness import registries
from tests.harness.cluster import GATEWAY_NAMESPACE, JSON, LabCluster, Operator

RELEASES = 10
CHECKS = 12
"""Of each release at rest. A day with the default `operator.resync` of five minutes has 288."""
METRICS = 9464
SECONDS = 150.0
CONFIGURED = "a-key-in-the-configuration"
OF_A_BUSY_MACHINE = {"APIServerUnavailable", "Conflict"}
"""What a warning may say of the API server: a lab on a busy machine answers late, and a user's change ends a pass."""

pytestmark = pytest.mark.timeout(420)

Line = dict[str, Any]


@dataclass
class Day:
    """An operator that checks each release every second, and what it logs."""

    cluster: LabCluster
    folder: Path

    @property
    def log(self) -> Path:
        return self.cluster.operator.log

    def read(self, since: int) -> list[Line]:
        """Return the lines after the first ``since`` bytes, but for warnings about the API server."""
        lines = [json.loads(line) for line in self.log.read_bytes()[since:].splitlines()]
        return [line for line in lines if line.get("reason") not in OF_A_BUSY_MACHINE]

    def count_passes(self) -> float:
        """Return how many passes have ended, by the operator's own count."""
        page = self.cluster.lab.request(network.ADDRESS, METRICS, "/metrics").body.decode()
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        return sum(sample.value for sample in samples if sample.name == "pluginrelease_pass_duration_seconds_count")

    def await_passes(self, each: int) -> None:
        """Return when so many passes over each release have ended."""
        before, deadline = self.count_passes(), time.monotonic() + SECONDS
        while self.count_passes() < before + each * RELEASES:
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def await_rest(self) -> int:
        """Return the size of the log, once two checks of each release have written nothing."""
        deadline = time.monotonic() + SECONDS
        while True:
            assert time.monotonic() < deadline
            size = self.log.stat().st_size
            self.await_passes(2)
            if not self.read(size):
                return size

    def manifest(self, name: str, word: str, priority: int) -> JSON:
        """Return a release of a private image, with a key in its configuration."""
        module = self.folder / f"{word}.wasm"
        module.write_bytes(wasm_modules.answering(word))
        ref = registries.push_private(self.cluster.lab, module, f"tests/{word}:1.0")
        image = {"ref": ref, "insecure": True, "pullSecretRef": {"name": "login"}}
        plugin = {"phase": "AUTHN", "priority": priority, "config": {"key": CONFIGURED}}
        return self.cluster.manifest(name, ref, artifact={"image": image}, plugin=plugin)


@pytest.fixture
def day(lab: Lab, running_operator: Operator, tmp_path: Path) -> Iterator[Day]:
    """The session's operator, with short times."""
    running_operator.stop()
    running_operator.start("--resync", "1s", "--metrics-port", str(METRICS))
    cluster = LabCluster(lab, running_operator)
    yield Day(cluster, tmp_path)
    cluster.clean_up()
    running_operator.stop()
    running_operator.start()


def test_ten_releases_at_rest_and_one_rollout(day: Day) -> None:
    """Ten releases run on two gateways: however often they are checked, not one line is written. A new image for one of
    them writes lines about this release alone, each with its generation, revision and gateway, and none with a
    secret."""
    cluster, began = day.cluster, day.log.stat().st_size
    login = registries.pull_secret(
        "login", GATEWAY_NAMESPACE, cluster.lab.private_registry, cluster.lab.private_credentials
    )
    cluster.apply(login)
    names = [f"quiet-{number}" for number in range(RELEASES)]
    for number, name in enumerate(names):
        cluster.apply(day.manifest(name, name, number))
    for name in names:
        assert cluster.await_ready(name)["status"]["summary"]["pods"] == "2/2"
    rest = day.await_rest()

    at = time.monotonic()
    day.await_passes(CHECKS)
    print(f"{CHECKS} checks of each of {RELEASES} releases on two gateways in {time.monotonic() - at:.0f} s: no line")
    assert day.read(rest) == []

    changed = cluster.apply(day.manifest("quiet-3", "quiet-3-b", 3))
    release = cluster.await_ready("quiet-3")
    assert day.await_rest() > rest
    lines = day.read(rest)
    print("\n".join(json.dumps({key: line[key] for key in line if key != "logger"}) for line in lines))
    check_lines(lines, changed, release)
    _, password = cluster.lab.private_credentials
    text = day.log.read_bytes()[began:].decode()
    assert CONFIGURED not in text
    assert password not in text


def check_lines(lines: list[Line], changed: JSON, release: JSON) -> None:
    """Each line names what docs/logs.md says; the lines are those of one rollout, in order."""
    assert {line["release"] for line in lines} == {f"{GATEWAY_NAMESPACE}/quiet-3"}
    assert {line["generation"] for line in lines} == {changed["metadata"]["generation"]}
    assert all("revision" in line and line["level"] == "info" for line in lines)
    assert {line["gateway"] for line in lines if line.get("kind") == "WasmPlugin"} == {
        row["name"] for row in release["status"]["gateways"]
    }
    written = [line["kind"] for line in lines if line["event"] == "applied"]
    assert written == ["ControllerRevision", "WasmPlugin"]
    turns = [(line["phase"], line["reason"]) for line in lines if line["event"] == "the state of the release changed"]
    assert turns[-1] == ("Ready", "Loaded")
    assert lines[-1]["revision"] == release["status"]["targetRevision"]
