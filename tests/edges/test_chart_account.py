"""What the chart's ServiceAccount may do, as the API server says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pluginrelease_lab import operator
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.host import Lab


@pytest.fixture(scope="module")
def account(lab: Lab) -> Path:
    """A kubeconfig of the chart's ServiceAccount, for the host."""
    operator.install(lab)
    return lab.kubeconfig_for(operator.NAMESPACE, operator.service_account(), outside=True)


@pytest.mark.parametrize(
    ("verb", "resource", "allowed"),
    [
        ("watch", "pluginreleases.pluginrelease.io", True),
        ("create", "pluginreleases.pluginrelease.io", False),
        ("patch", "wasmplugins.extensions.istio.io", True),
        ("create", "pods/portforward", True),
        ("create", "pods/exec", False),
        ("delete", "pods", False),
        ("get", "secrets", True),
        ("list", "secrets", False),
        ("watch", "secrets", False),
        ("patch", "namespaces", False),
        ("create", "events.events.k8s.io", True),
        ("create", "leases.coordination.k8s.io", False),
        ("create", "deployments.apps", False),
        ("*", "*", False),
    ],
)
def test_the_account_may_do_its_work_and_no_more(
    lab: Lab, account: Path, verb: str, resource: str, allowed: bool
) -> None:
    """The API server's own answer to what the chart's ServiceAccount may do in any namespace."""
    mine = f"system:serviceaccount:{operator.NAMESPACE}:{operator.service_account()}"
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": mine, "resourceAttributes": {"verb": verb, **attributes(resource)}},
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer = json.loads(lab.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(review)))
    assert answer["status"]["allowed"] is allowed


def attributes(resource: str) -> dict[str, str]:
    """``pods/log`` and ``deployments.apps`` as a SubjectAccessReview spells them."""
    name, _, group = resource.partition(".")
    name, _, subresource = name.partition("/")
    return {"resource": name, "group": group, "subresource": subresource}


def test_a_refusal_is_seen(lab: Lab, account: Path) -> None:
    """A 403 to the operator's account is found in the audit log with verb and path; others' requests are not."""
    lab.kubectl("get", "secrets", "-n", operator.NAMESPACE)
    before = operator.forbidden(lab)
    with pytest.raises(LabError, match="forbidden"):
        lab.kubectl("get", "secrets", "-n", operator.NAMESPACE, "--kubeconfig", str(account))
    [refused] = operator.forbidden(lab)[len(before) :]
    assert refused.startswith(f"list /api/v1/namespaces/{operator.NAMESPACE}/secrets")
