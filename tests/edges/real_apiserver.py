"""Situations in which a real API server refuses a request, one a row: set up on a lab, asked, and recorded.

``python -m tests.edges.real_apiserver`` writes every answer into tests/fixtures/apiserver, for the tests of the core.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import yaml

import pluginrelease_lab as labs
from pluginrelease_lab import Lab

FIXTURES = Path(__file__).parents[1] / "fixtures"
FOLDER = FIXTURES / "apiserver"
WEBHOOK = Path(__file__).with_name("webhook.py")
CERTIFICATE = FIXTURES / "tls" / "self-signed.pem"  # for 127.0.0.1; worth nothing
WEBHOOK_PORT, NOBODY_PORT = 5443, 5444
HERE, FULL, GOING, STRICT = "answers-here", "answers-full", "answers-going", "answers-strict"
NAMESPACES = (HERE, FULL, GOING, STRICT)
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
DENY = "answers-deny"  # label: what is to become of an object that has it
SECONDS = 60.0

JSON = dict[str, Any]


@dataclass(frozen=True)
class Situation:
    """What is asked, as whom, and what is to be made of the answer; ``reason`` "NotFound" is no error of a release."""

    name: str
    reason: str
    kind: str
    method: str
    path: str
    body: JSON | None = None
    query: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    who: str = "admin"
    words: str = ""


def plugin(namespace: str, name: str = "one", *, labels: JSON | None = None, **metadata: Any) -> JSON:
    url = "oci://registry.example.com/plugin:1"
    return {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"namespace": namespace, "name": name, "labels": labels or {}, **metadata},
        "spec": {"url": url},
    }


def path(namespace: str, name: str = "one", plural: str = "wasmplugins") -> str:
    return f"/apis/extensions.istio.io/v1alpha1/namespaces/{namespace}/{plural}/{name}"


def apply(name: str, reason: str, kind: str, manifest: JSON, *, who: str = "admin", words: str = "") -> Situation:
    """A server-side apply without force, as the operator's first one is."""
    own = manifest["metadata"]
    query = {"fieldManager": "pluginrelease"}
    return Situation(
        name, reason, kind, "PATCH", path(own["namespace"], own["name"]), manifest, query, APPLY, who, words
    )


def denied(code: str) -> Situation:
    labels = {DENY: code}
    return apply(f"webhook-denies-{code}", "AdmissionDenied", "Refused", plugin(HERE, labels=labels), words="must not")


def merge(name: str, reason: str, kind: str, metadata: JSON) -> Situation:
    return Situation(name, reason, kind, "PATCH", path(HERE, "held"), {"metadata": metadata}, {}, MERGE)


def big(name: str, size: int) -> JSON:
    return {**plugin(HERE, name), "spec": {"url": "oci://x/y:1", "pluginConfig": {"key": "x" * size}}}


NO_UID = "00000000-0000-0000-0000-000000000000"
HELD = {**plugin(HERE, "held"), "spec": {"url": "oci://registry.example.com/another:2"}}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "root"},
    "spec": {"containers": [{"name": "one", "image": "x", "securityContext": {"privileged": True}}]},
}
CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"key": "x" * (2**20 + 1)}}
SITUATIONS: tuple[Situation, ...] = (
    apply("no-right", "Forbidden", "Waiting", plugin(HERE), who="nobody", words="cannot patch resource"),
    apply("anonymous", "Unauthorized", "Waiting", plugin(HERE), who="anonymous", words="given none"),
    apply("unknown-token", "Unauthorized", "Waiting", plugin(HERE), who="stranger"),
    apply("quota", "QuotaExceeded", "Waiting", plugin(FULL), words="none-allowed"),
    apply("terminating", "NamespaceTerminating", "Waiting", plugin(GOING), words=GOING),
    *map(denied, ("400", "403", "404", "409", "503")),
    apply(
        "webhook-fails",
        "WebhookUnavailable",
        "Transient",
        plugin(HERE, labels={DENY: "fail"}),
        words="webhook.answers.example.com",
    ),
    apply(
        "webhook-down",
        "WebhookUnavailable",
        "Transient",
        plugin(HERE, labels={DENY: "nobody"}),
        words="nobody.answers.example.com",
    ),
    apply("policy-invalid", "AdmissionDenied", "Refused", plugin(HERE, labels={DENY: "policy"}), words="no such label"),
    apply(
        "policy-forbidden",
        "AdmissionDenied",
        "Refused",
        plugin(HERE, labels={DENY: "policy-forbidden"}),
        words="not here",
    ),
    Situation(
        "pod-security",
        "AdmissionDenied",
        "Refused",
        "POST",
        f"/api/v1/namespaces/{STRICT}/pods",
        POD,
        words="violates PodSecurity",
    ),
    Situation("no-such-object", "NotFound", "", "GET", path(HERE, "absent")),
    Situation("no-such-group", "NotFound", "unserved", "GET", "/apis/no.such.group/v1/namespaces/x/things/one"),
    Situation("no-such-version", "NotFound", "unserved", "GET", "/apis/extensions.istio.io/v9/wasmplugins"),
    Situation("no-such-kind", "NotFound", "unserved", "GET", path(HERE, plural="nonsenses")),
    Situation("no-such-core-kind", "NotFound", "unserved", "GET", f"/api/v1/namespaces/{HERE}/nonsenses/one"),
    apply("no-such-namespace", "NotFound", "", plugin("answers-nowhere")),
    apply("field-conflict", "FieldConflict", "Transient", plugin(HERE, "held"), words='.spec.url by "other-hand"'),
    merge("old-version", "Conflict", "Transient", {"resourceVersion": "1", "labels": {"a": "b"}}),
    merge("other-uid", "Conflict", "Transient", {"uid": NO_UID, "labels": {"a": "b"}}),
    replace(
        apply("apply-to-another-uid", "Conflict", "Transient", plugin(HERE, "held", uid=NO_UID)),
        query={"fieldManager": "pluginrelease", "force": "true"},
    ),
    apply("apply-to-what-is-gone", "Conflict", "Transient", plugin(HERE, "gone", uid=NO_UID)),
    Situation(
        "delete-another-uid",
        "Conflict",
        "Transient",
        "DELETE",
        path(HERE, "held"),
        {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": NO_UID}},
    ),
    Situation("already-there", "Conflict", "Transient", "POST", path(HERE, "").rstrip("/"), HELD),
    Situation("old-page", "ListExpired", "Transient", "GET", path(HERE, "").rstrip("/"), None, {"limit": "1"}),
    apply("more-than-a-request", "ObjectTooLarge", "Refused", big("big", 4 * 2**20)),
    apply("more-than-grpc-takes", "ObjectTooLarge", "Refused", big("big", 2 * 2**20)),
    apply("more-than-etcd-takes", "ObjectTooLarge", "Refused", big("big", 1_700_000)),
    apply("long-name", "ApplyRefused", "Refused", plugin(HERE, "x" * 254)),
    apply("long-annotations", "ObjectTooLarge", "Refused", plugin(HERE, annotations={"a": "x" * 300_000})),
    Situation(
        "large-config-map", "ObjectTooLarge", "Refused", "POST", f"/api/v1/namespaces/{HERE}/configmaps", CONFIG_MAP
    ),
    apply(
        "invalid", "ApplyRefused", "Refused", {**plugin(HERE), "spec": {"url": "oci://x/y:1", "phase": "x"}}, words="x"
    ),
    apply(
        "unknown-field",
        "UnknownField",
        "Refused",
        {**plugin(HERE), "spec": {"url": "oci://x/y:1", "newer": {"than": "this"}}},
        words=".spec.newer",
    ),
    apply("bad-name", "ApplyRefused", "Refused", plugin(HERE, "NOT_A_NAME")),
    Situation(
        "not-an-object", "ApplyRefused", "Refused", "POST", path(HERE, "").rstrip("/"), {"kind": 1, "apiVersion": []}
    ),
    Situation(
        "patch-of-all", "RequestNotSupported", "Refused", "PATCH", f"/api/v1/namespaces/{HERE}/pods", {}, {}, MERGE
    ),
    Situation(
        "unknown-patch", "RequestNotSupported", "Refused", "PATCH", path(HERE, "held"), {}, {}, "text/x-nonsense"
    ),
    Situation("bad-selector", "RequestRefused", "Refused", "GET", "/api/v1/pods", None, {"labelSelector": "a=b=c"}),
    Situation(
        "no-such-container",
        "RequestRefused",
        "Refused",
        "GET",
        f"/api/v1/namespaces/{HERE}/pods/plain/log",
        None,
        {"container": "nonsense"},
    ),
)
# a page of a list from before the last compaction
OLD_PAGE = (
    base64.urlsafe_b64encode(json.dumps({"v": "meta.k8s.io/v1", "rv": 2, "start": "x"}).encode()).decode().rstrip("=")
)


@contextlib.contextmanager
def staged(lab: Lab) -> Iterator[dict[str, Path]]:
    """Everything that the situations need; gives the kubeconfigs of who asks."""
    with webhook(lab):
        for manifest in stage():
            lab.kubectl("apply", "--server-side", "--field-manager=other-hand", "-f", "-", stdin=json.dumps(manifest))
        lab.kubectl("delete", "namespace", GOING, "--wait=false")
        compact(lab)
        try:
            yield people(lab)
        finally:
            for kind, name in (
                ("validatingwebhookconfiguration", "answers"),
                ("validatingadmissionpolicybinding", "answers"),
                ("validatingadmissionpolicybinding", "answers-forbidden"),
                ("validatingadmissionpolicy", "answers"),
                ("validatingadmissionpolicy", "answers-forbidden"),
            ):
                lab.kubectl("delete", kind, name, "--ignore-not-found")
            unblock = '{"metadata":{"finalizers":null}}'
            lab.kubectl("patch", "configmap", "holds", "-n", GOING, "--type=merge", "-p", unblock)
            for namespace in NAMESPACES:
                lab.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")


def people(lab: Lab) -> dict[str, Path]:
    """Kubeconfigs: of one who may everything, of one without a right, of one unknown and of one without a name."""
    known = read(lab.kubeconfig)
    found = {"admin": lab.kubeconfig, "nobody": lab.kubeconfig_for(HERE, "nobody", outside=True)}
    for name, user in (("stranger", {"token": "nonsense"}), ("anonymous", {})):
        found[name] = lab.kubeconfig.with_name(f"answers-{name}")
        found[name].write_text(yaml.safe_dump({**known, "users": [{"name": "lab", "user": user}]}))
    return found


def compact(lab: Lab) -> None:
    """etcd forgets what was, as the API server has it do every five minutes."""
    listed = json.loads(lab.kubectl("get", "--raw", "/api/v1/namespaces?limit=1"))
    body = json.dumps({"revision": listed["metadata"]["resourceVersion"]})
    program = f"import urllib.request as r; r.urlopen('http://127.0.0.1:2379/v3/kv/compaction', {body!r}.encode())"
    with lab.popen([sys.executable, "-c", program]) as process:
        assert process.wait(SECONDS) == 0


@contextlib.contextmanager
def webhook(lab: Lab) -> Iterator[None]:
    """A webhook in the lab's network that does what an object's label says."""
    with lab.popen([sys.executable, str(WEBHOOK), str(WEBHOOK_PORT), str(CERTIFICATE)]) as process:
        try:
            yield
        finally:
            process.kill()


def stage() -> Iterator[JSON]:
    for namespace in NAMESPACES:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"} if namespace == STRICT else {}
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    own = {"apiVersion": "v1", "metadata": {"namespace": HERE, "name": "nobody"}}
    yield {**own, "kind": "ServiceAccount"}
    held = {"namespace": GOING, "name": "holds", "finalizers": ["example.com/holds"]}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": held}
    hard = {"count/wasmplugins.extensions.istio.io": "0"}
    quota = {"namespace": FULL, "name": "none-allowed"}
    yield {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": quota, "spec": {"hard": hard}}
    yield HELD
    plain = {"namespace": HERE, "name": "plain"}
    yield {**POD, "metadata": plain, "spec": {"containers": [{"name": "one", "image": "x"}]}}
    yield hooks()
    yield from policy("answers", "policy", "no such label", "Invalid")
    yield from policy("answers-forbidden", "policy-forbidden", "not here", "Forbidden")


def hooks() -> JSON:
    ca = base64.b64encode(CERTIFICATE.read_bytes()).decode()
    rules = [
        {
            "apiGroups": ["extensions.istio.io"],
            "apiVersions": ["*"],
            "resources": ["wasmplugins"],
            "operations": ["CREATE"],
        }
    ]

    def one(name: str, port: int, values: list[str]) -> JSON:
        wanted = {"matchExpressions": [{"key": DENY, "operator": "In", "values": values}]}
        return {
            "name": f"{name}.answers.example.com",
            "clientConfig": {"url": f"https://127.0.0.1:{port}/", "caBundle": ca},
            "rules": rules,
            "objectSelector": wanted,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 5,
            "failurePolicy": "Fail",
        }

    told = one("webhook", WEBHOOK_PORT, ["400", "403", "404", "409", "503", "fail"])
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "answers"},
        "webhooks": [told, one("nobody", NOBODY_PORT, ["nobody"])],
    }


def policy(name: str, value: str, message: str, reason: str) -> Iterator[JSON]:
    rules = [
        {
            "apiGroups": ["extensions.istio.io"],
            "apiVersions": ["*"],
            "resources": ["wasmplugins"],
            "operations": ["CREATE"],
        }
    ]
    version = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    selected = {"objectSelector": {"matchLabels": {DENY: value}}}
    rule = {"expression": "false", "message": message, "reason": reason}
    spec = {"matchConstraints": {"resourceRules": rules, **selected}, "validations": [rule]}
    yield {**version, "kind": "ValidatingAdmissionPolicy", "spec": spec}
    binding = {"policyName": name, "validationActions": ["Deny"]}
    yield {**version, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding}


def query_of(one: Situation) -> dict[str, str]:
    return {**one.query, **({"continue": OLD_PAGE} if one.name == "old-page" else {})}


# --------------------------------------------------------------------------------------------------------- recording


async def raw(one: Situation, known: JSON) -> JSON:
    """The answer as it came, with the headers that count; ``known`` is a kubeconfig."""
    server = known["clusters"][0]["cluster"]["server"]
    token = known["users"][0]["user"].get("token")
    headers = {"Content-Type": one.content_type, **({"Authorization": f"Bearer {token}"} if token else {})}
    data = None if one.body is None else json.dumps(one.body)
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            one.method, server + one.path, params=query_of(one), data=data, headers=headers, ssl=False
        ) as said,
    ):
        return {
            "method": one.method,
            "path": one.path,
            "code": said.status,
            "contentType": said.headers.get("Content-Type", ""),
            "retryAfter": said.headers.get("Retry-After", ""),
            "body": abridged(await said.text()),
            "means": [one.reason, one.kind],
        }


def read(kubeconfig: Path) -> JSON:
    known: JSON = yaml.safe_load(kubeconfig.read_text())
    return known


def abridged(body: str) -> str:
    """Without what was sent in megabytes and comes back."""
    return body if len(body) < 20_000 else body.replace("x" * 10_000, "")


def settled(lab: Lab) -> None:
    """Policies and webhooks begin a moment after they are made, and so does a quota."""
    end = time.monotonic() + SECONDS
    waiting = {
        situation.name: situation
        for situation in SITUATIONS
        if situation.name.startswith(("policy", "webhook", "quota"))
    }
    while waiting and time.monotonic() < end:
        for situation in list(waiting.values()):
            said = asyncio.run(
                raw(replace(situation, query={**situation.query, "dryRun": "All"}), read(lab.kubeconfig))
            )
            if said["code"] >= 400 and "status unknown for quota" not in said["body"]:
                del waiting[situation.name]
    assert not waiting, waiting


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with labs.up("record-apiserver", gateways=1) as lab, staged(lab) as who:
        settled(lab)
        for situation in SITUATIONS:
            said = asyncio.run(raw(situation, read(who[situation.who])))
            (FOLDER / f"{situation.name}.json").write_text(json.dumps(said, indent=2) + "\n")
            print(situation.name, said["code"], said["body"][:300])


if __name__ == "__main__":
    main()
