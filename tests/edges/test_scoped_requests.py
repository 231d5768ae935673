"""What an operator with Roles in listed namespaces asks the API server for, by the API server's audit log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pluginrelease_lab import operator
from tests.edges import contenders as operators
from tests.edges.contenders import NAMESPACE, Contender
from tests.edges.lone_apiserver import Lone
from tests.edges.real_registry import Real

HOME = "pluginrelease-scoped"
VALUES = [
    "crds.install=false",
    "flowControl.enabled=false",
    f'fullnameOverride="{HOME}"',
    f'watchNamespaces=["{NAMESPACE}"]',
    f'gatewayNamespaces=["{NAMESPACE}"]',
]
SECONDS = 60.0


@pytest.fixture
def scoped(lone: Lone, plain: Real, tmp_path: Path) -> Iterator[Contender]:
    """An operator without a right in the cluster as a whole, and one release that it has written."""
    lone.kubectl("create", "namespace", HOME)
    roles = [made for made in operator.render(HOME, VALUES) if made["kind"] != "Deployment"]
    assert not [made for made in roles if made["kind"] == "ClusterRoleBinding"]
    lone.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(roles))
    operators.push_image(plain, tmp_path)
    flags: dict[str, object] = {"namespace": NAMESPACE, "gateway-namespace": NAMESPACE, "resync": "1s"}
    contender = Contender(lone, "scoped", tmp_path, install=HOME, more=flags)
    contender.start()
    contender.holds()
    operators.apply(lone, plain, "in-scope")
    operators.await_written(lone, "in-scope")
    yield contender
    operators.end(contender)


def events_of(lone: Lone) -> list[dict[str, Any]]:
    """The audit events of all that this operator asked, kopf's requests among them."""
    user = f"system:serviceaccount:{HOME}:{HOME}"
    with lone.audit_log.open(encoding="utf-8") as lines:
        return [event for event in operator.complete_events(lines) if event["user"].get("username") == user]


def is_out_of_scope(event: dict[str, Any]) -> bool:
    """Return whether a request is for objects of the cluster as a whole."""
    about = event.get("objectRef")
    return about is not None and not about.get("namespace")


def discovered(events: list[dict[str, Any]]) -> Counter[str]:
    """Return how often each page of the API server's discovery was read: what kinds it serves, and no object."""
    return Counter(event["requestURI"].partition("?")[0] for event in events if event.get("objectRef") is None)


def test_kopf_scans_neither_crds_nor_namespaces(lone: Lone, scoped: Contender) -> None:
    """Without a right in the cluster the operator, and kopf in it, ask for no CRD and no list of Namespaces, neither at
    the start nor in later passes. Each request is for a listed namespace, and the API server refuses none. kopf reads
    once, at its start, which kinds are served."""
    started = events_of(lone)
    deadline = time.monotonic() + SECONDS
    while len(found := events_of(lone)) < len(started) + 5:
        assert time.monotonic() < deadline, scoped.log.read_text(encoding="utf-8")[-2000:]
        time.sleep(0.2)
    resources = {(event["verb"], event["objectRef"]["resource"]) for event in found if event.get("objectRef")}
    assert {("watch", "pluginreleases"), ("patch", "wasmplugins")} <= resources
    assert [event["requestURI"] for event in found if is_out_of_scope(event)] == []
    assert [event["requestURI"] for event in found if not operator.is_authorized(event)] == []
    print(f"{len(found)} requests, of which for discovery: {dict(discovered(found))}")
    assert discovered(found) == discovered(started)
    assert max(discovered(found).values()) == 1
