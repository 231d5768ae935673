"""The operator's log: ten releases at rest write nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from pluginrelease import api
from tests.edges import contenders as operators
from tests.edges.contenders import NAMESPACE, Contender
from tests.edges.lone_apiserver import Lone
from tests.edges.real_envoy import free_port
from tests.edges.real_registry import Real

RELEASES = 10
# of each release
CHECKS = 3
SECONDS = 100.0


@pytest.fixture
def quick(lone: Lone, plain: Real, tmp_path: Path) -> Iterator[Contender]:
    """An operator that checks each release every second."""
    operators.push_image(plain, tmp_path)
    port = free_port("127.0.0.1")
    contender = Contender(lone, "at-rest", tmp_path, more={"resync": "1s", "metrics-port": port})
    contender.start()
    contender.holds()
    yield contender
    operators.end(contender)


def count_passes(operator: Contender) -> float:
    """Return how many passes have ended so far, by the operator's own count."""
    page = requests.get(f"http://127.0.0.1:{operator.more['metrics-port']}/metrics", timeout=10).text
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == "pluginrelease_pass_duration_seconds_count")


def await_passes(operator: Contender, each: int) -> None:
    """Return when so many passes over each release have ended."""
    before, deadline = count_passes(operator), time.monotonic() + SECONDS
    while count_passes(operator) < before + each * RELEASES:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def read_lines(operator: Contender, since: int) -> list[dict[str, Any]]:
    """Return the lines that were written after the first ``since`` bytes."""
    return [json.loads(line) for line in operator.log.read_bytes()[since:].splitlines()]


def apply_awaiting(lone: Lone, plain: Real, name: str) -> None:
    """Apply a release of a tag that is not there; return when its status says so."""
    release = operators.release(plain, name)
    release["spec"]["artifact"]["image"]["ref"] = f"{plain.host}/plugin:not-yet"
    lone.kubectl("apply", "-f", "-", stdin=json.dumps(release))
    waiting = "--for=jsonpath={.status.conditions[?(@.type=='ArtifactReady')].reason}=ManifestNotFound"
    lone.kubectl("wait", waiting, f"{api.PLURAL}/{name}", "-n", NAMESPACE, "--timeout=80s")


def test_ten_releases_at_rest(lone: Lone, plain: Real, quick: Contender) -> None:
    """At rest not one line is written, however often ten releases are checked, also where they wait for gateways. One
    that waits for its tag writes lines when that begins, and none at each try."""
    names = [f"quiet-{number}" for number in range(RELEASES)]
    operators.apply(lone, plain, *names)
    for name in names:
        operators.await_written(lone, name)
    apply_awaiting(lone, plain, "awaiting")
    await_passes(quick, 1)
    lines = read_lines(quick, 0)
    assert {f"{NAMESPACE}/{name}" for name in names} <= {line.get("release") for line in lines}
    tries = [line for line in lines if line.get("release") == f"{NAMESPACE}/awaiting" and "step" in line]
    assert [line["reason"] for line in tries] == ["ManifestNotFound"]

    began = quick.log.stat().st_size
    await_passes(quick, CHECKS)
    assert read_lines(quick, began) == []
