"""Where the API server queues the operator's requests by the chart's FlowSchemas: a real one says it in each answer."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import requests

from tests.edges.contenders import NAMESPACE, ONE_INSTALL
from tests.edges.lone_apiserver import Lone

OWN, LEADERS = ONE_INSTALL, "leader-election"
PLUGINS = "/apis/extensions.istio.io/v1alpha1"
RELEASES = "/apis/pluginrelease.io/v1alpha1"
MERGE = {"Content-Type": "application/merge-patch+json"}

# who asks for what, and the level that takes it; None: that of all ServiceAccounts
CASES = [
    ("PATCH", f"{PLUGINS}/namespaces/{NAMESPACE}/wasmplugins/some", OWN, "a rollback"),
    ("DELETE", f"{PLUGINS}/namespaces/{NAMESPACE}/wasmplugins/some", OWN, "a plugin that is taken off"),
    ("GET", f"{RELEASES}/namespaces/{NAMESPACE}/pluginreleases/some", OWN, "a release that is read before it"),
    ("PATCH", f"{RELEASES}/namespaces/{NAMESPACE}/pluginreleases/some/status", OWN, "the note of a decision"),
    ("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/pluginrelease", LEADERS, "a renewal"),
    ("GET", f"{PLUGINS}/wasmplugins", None, "a list of everything keeps no seat from those"),
]


@pytest.fixture(scope="module")
def ask(lone: Lone, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], str]:
    """Asks as the operator's ServiceAccount; the UID of the priority level that the answer names."""
    authority = tmp_path_factory.mktemp("ca") / "ca.crt"
    authority.write_bytes(lone.ca)
    token = lone.kubectl("create", "token", ONE_INSTALL, "-n", ONE_INSTALL).strip()

    def asked(verb: str, path: str) -> str:
        headers = {"Authorization": f"Bearer {token}", **(MERGE if verb == "PATCH" else {})}
        body = "{}" if verb == "PATCH" else None
        answer = requests.request(verb, lone.url + path, headers=headers, data=body, timeout=30, verify=str(authority))
        assert answer.status_code in (200, 404), answer.text
        return answer.headers["X-Kubernetes-PF-PriorityLevel-UID"]

    return asked


@pytest.mark.parametrize(("verb", "path", "level", "reason"), CASES, ids=[row[3] for row in CASES])
def test_the_way_back_has_seats_of_its_own(
    lone: Lone, ask: Callable[[str, str], str], verb: str, path: str, level: str | None, reason: str
) -> None:
    """What takes a plugin back or off is at the operator's own level, the Lease at that of leader elections."""
    found = json.loads(lone.kubectl("get", "prioritylevelconfigurations", "-o", "json"))["items"]
    names = {each["metadata"]["uid"]: each["metadata"]["name"] for each in found}
    assert names[ask(verb, path)] == (level or "workload-low"), reason


def test_nobody_borrows_the_seats(lone: Lone) -> None:
    """The level keeps seats free, however busy the others are, and the API server says that it works by it."""
    found = json.loads(lone.kubectl("get", f"prioritylevelconfiguration/{OWN}", "-o", "json"))
    assert found["spec"]["limited"]["nominalConcurrencyShares"] > 0
    assert found["spec"]["limited"]["lendablePercent"] == 0
    schema = json.loads(lone.kubectl("get", f"flowschema/{OWN}", "-o", "json"))
    dangling = {each["type"]: each["status"] for each in schema["status"]["conditions"]}
    assert dangling["Dangling"] == "False"
