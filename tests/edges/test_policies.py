"""The policies of examples/policies, on a real API server: what each refuses, and what it lets pass."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pluginrelease import api
from pluginrelease_lab import Lab, operator
from pluginrelease_lab.errors import LabError

POLICIES = sorted((Path(__file__).parents[2] / "examples" / "policies").glob("*.yaml"))
TENANT, OTHER = "policy-tenant", "policy-other"
SECONDS = 30.0

GOOD: dict[str, Any] = {
    "apiVersion": api.API_VERSION,
    "kind": api.KIND,
    "metadata": {"name": "auth", "namespace": TENANT},
    "spec": {
        "artifact": {
            "image": {"ref": "registry.example.com/plugins/auth:1.2"},
            "verify": {"secretRef": {"name": "keys"}},
        },
        "provider": "Istio",
        "gateways": [
            {
                "name": "public",
                "namespace": "istio-ingress",
                "selector": {"matchLabels": {"istio": "ingressgateway", "tier": "one"}},
            }
        ],
        "plugin": {"phase": "AUTHZ"},
    },
}
SERVED = {"url": "https://files.example.com/auth.wasm", "sha256": "0" * 64}
# policy, path of the spec, what it is then (None: not there), what the API server's refusal names
REFUSED = [
    ("allowed-registries", "artifact.image.ref", "registry.example.com/other/auth:1", "spec.artifact.image.ref"),
    ("allowed-registries", "artifact.image.ref", "registry.example.com.evil/plugins/auth:1", "spec.artifact.image.ref"),
    ("allowed-registries", "artifact.image.ref", "auth:1", "spec.artifact.image.ref"),
    ("allowed-registries", "artifact", {"http": SERVED}, "spec.artifact.http.url"),
    ("allowed-registries", "artifact.image.insecure", True, "spec.artifact.image.insecure"),
    ("verify-required", "artifact.verify", None, "spec.artifact.verify"),
    ("phases-and-gateways", "plugin.phase", "AUTHN", "spec.plugin.phase"),
    ("phases-and-gateways", "plugin.phase", None, "spec.plugin.phase"),
    ("phases-and-gateways", "gateways.0.namespace", "istio-system", "a namespace is none of"),
    ("phases-and-gateways", "gateways.0.selector", {"matchLabels": {"tier": "one"}}, "a selector does not have"),
    ("phases-and-gateways", "gateways.0.selector", {"matchLabels": {"istio": "other"}}, "a selector does not have"),
    ("no-open-authentication", "plugin", {"phase": "AUTHN", "failStrategy": "FAIL_OPEN"}, "spec.plugin.failStrategy"),
]
PASSES = [
    ("no-open-authentication", "plugin", {"phase": "AUTHN", "failStrategy": "FAIL_CLOSE"}),
    ("no-open-authentication", "plugin", {"phase": "AUTHZ", "failStrategy": "FAIL_OPEN"}),
    ("allowed-registries", "artifact.image.ref", "ghcr.io/example/auth:1"),
]


def changed(path: str, value: Any, namespace: str = TENANT) -> dict[str, Any]:
    """The good release with one field otherwise."""
    manifest = copy.deepcopy(GOOD)
    manifest["metadata"]["namespace"] = namespace
    node: Any = manifest["spec"]
    *above, last = path.split(".")
    for part in above:
        node = node[int(part)] if part.isdigit() else node[part]
    if value is None:
        del node[last]
    else:
        node[last] = value
    return manifest


def create(lab: Lab, manifest: dict[str, Any]) -> str:
    """Try to create it, without a trace; return what the API server says."""
    try:
        return lab.kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(manifest))
    except LabError as error:
        return str(error)


@pytest.fixture(scope="module")
def policed(lab: Lab) -> Iterator[Lab]:
    """The lab with one policy after the other in force in a tenant's namespace."""
    operator.install(lab)
    for name in (TENANT, OTHER):
        lab.kubectl("create", "namespace", name)
    lab.kubectl("label", "namespace", TENANT, "plugins.example.com/tenant=true")
    yield lab
    for name in (TENANT, OTHER):
        lab.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(params=POLICIES, ids=lambda path: path.stem)
def policy(policed: Lab, request: pytest.FixtureRequest) -> Iterator[Path]:
    """One policy, from when the API server goes by it until it is gone."""
    path: Path = request.param
    policed.kubectl("apply", "-f", str(path))
    _, field, value, _ = next(row for row in REFUSED if row[0] == path.stem)
    deadline = time.monotonic() + SECONDS
    while "denied" not in create(policed, changed(field, value)):
        assert time.monotonic() < deadline, f"{path.stem} is not in force"
        time.sleep(0.2)
    yield path
    policed.kubectl("delete", "-f", str(path))


def test_a_policy_refuses_what_it_is_about(policed: Lab, policy: Path) -> None:
    """Each row is denied with a sentence that names the field; a good release passes, and so does another namespace."""
    rows = [row for row in REFUSED if row[0] == policy.stem]
    for _, field, value, named in rows:
        said = create(policed, changed(field, value))
        assert f"pluginrelease-{policy.stem}" in said, (field, value)
        assert named in said
    for stem, field, value in PASSES:
        if stem == policy.stem:
            assert "created" in create(policed, changed(field, value)), (field, value)
    assert "created" in create(policed, GOOD)
    assert "created" in create(policed, changed(rows[0][1], rows[0][2], OTHER))


def test_a_release_from_before_can_go(policed: Lab) -> None:
    """What broke the policy before it came is let go, finalizer and all, and is denied at its next change."""
    [path] = [path for path in POLICIES if path.stem == "verify-required"]
    begun = time.monotonic()
    while "denied" in create(policed, changed("artifact.verify", None)):  # the policy of the test before is going
        assert time.monotonic() < begun + SECONDS
        time.sleep(0.2)
    old = changed("artifact.verify", None)
    old["metadata"]["finalizers"] = [api.FINALIZER]
    old["spec"]["suspend"] = True
    policed.kubectl("create", "-f", "-", stdin=yaml.safe_dump(old))
    policed.kubectl("apply", "-f", str(path))
    deadline = time.monotonic() + SECONDS
    while "denied" not in create(policed, changed("artifact.verify", None)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    where = ("pluginrelease", "auth", "-n", TENANT)
    with pytest.raises(LabError, match="denied"):
        policed.kubectl("patch", *where, "--type=merge", "-p", '{"spec":{"plugin":{"priority":7}}}')
    policed.kubectl("delete", *where, "--wait=false")
    with contextlib.suppress(LabError):  # an operator that runs takes its finalizer off by itself
        policed.kubectl("patch", *where, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    policed.kubectl("wait", *where, "--for=delete", "--timeout=30s")
    policed.kubectl("delete", "-f", str(path))
