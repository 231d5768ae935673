"""A release whose pass waits for a registry, and when the operator then asks the API server for what."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from tests import wasm_modules
from tests.harness import evidence, registries
from tests.harness.cluster import JSON, LabCluster, observed, plugin

SOON = 1.0  # seconds from the event to the operator's write
WAITS = 30.0
HOLD: JSON = {"checks": {"load": {"timeout": "10m"}}, "rollout": {"onFailure": "Hold"}}


def hold(cluster: LabCluster, name: str, ref: str, **where: Any) -> str:
    """Release a revision that runs, and one that the gateways refuse; return the stable one when the other is held."""
    cluster.apply(cluster.manifest(name, ref, **where, **HOLD))
    place = {"namespace": where["namespace"]} if where else {}
    stable = cluster.await_ready(name, **place)["status"]["stableRevision"]
    cluster.apply(cluster.manifest(name, ref, plugin=plugin(config={"fail": True}), **where, **HOLD))
    cluster.await_release(name, lambda it: observed(it) and it["status"].get("phase") == "Held", **place)
    return str(stable)


@contextmanager
def hanging_pass(cluster: LabCluster, registry: registries.Registry, name: str, **where: Any) -> Iterator[None]:
    """The spec wants an image of a registry that takes connections and answers nothing; a pass is waiting for it."""
    ref = registry.push(wasm_modules.answering(name), name)
    with registry.hanging():
        cluster.apply(cluster.manifest(name, ref, **where, **HOLD))
        registry.await_unread_request()
        yield


def await_operator(cluster: LabCluster, verb: str, name: str, since: str) -> str:
    """Return when the operator first asked this of the WasmPlugin after a time."""
    deadline = time.monotonic() + WAITS
    while time.monotonic() < deadline:
        for event in evidence.by_operator(cluster.lab):
            asked = event.get("objectRef", {})  # what is no object's has none
            is_about = (asked.get("resource"), asked.get("name")) == ("wasmplugins", name)
            if is_about and event["verb"] == verb and event["requestReceivedTimestamp"] > since:
                return str(event["requestReceivedTimestamp"])
        time.sleep(0.05)
    raise AssertionError(f"the operator did not {verb} {name}")


def seconds_after(event: str, asked: datetime) -> float:
    """From the moment when a person's command had been answered to the operator's request."""
    return (datetime.fromisoformat(event) - asked).total_seconds()
