"""What the real parts wrote down about the operator: the API server's audit log, a registry's access log, events.

Asking the operator whether it wrote something proves nothing; these would have seen it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pluginrelease.core.mesh import istio
from pluginrelease_lab import Lab, operator

JSON = dict[str, Any]

# who an operator is, in its User-Agent
IDENTITY = re.compile(r"^pluginrelease/\S+ \((?P<who>[^)]+)\)")
WRITES = ("create", "update", "patch")
# <host> - - [time] "GET /v2/tests/plugin/manifests/1.0 HTTP/1.1" 200 …
ASKED = re.compile(r'"(?P<verb>GET|HEAD) (?P<path>/v2/\S+) HTTP/[^"]*" (?P<status>\d+) .*"(?P<agent>[^"]*)"$')


def by_operator(lab: Lab) -> list[JSON]:
    """The audit events of everything that the operator asked of the API server so far."""
    user = f"system:serviceaccount:{operator.NAMESPACE}:{operator.service_account(operator.NAMESPACE)}"
    return list(operator.audited(lab, user))


def asked(lab: Lab) -> Iterator[tuple[str, str]]:
    """Yield namespace and ``verb resource`` of everything that the operator asked of the API server so far.

    A request that streams its answer is audited when the answer begins and when it ends; it counts once.
    """
    for event in {event["auditID"]: event for event in by_operator(lab)}.values():
        about = event.get("objectRef", {})
        names = [about.get("resource", event["requestURI"].partition("?")[0]), about.get("subresource")]
        yield about.get("namespace", ""), f"{event['verb']} {'/'.join(name for name in names if name)}"


def status_writes(lab: Lab, namespace: str, pod: str) -> list[datetime]:
    """When each status of a pod had been written."""
    about = {"resource": "pods", "subresource": "status", "namespace": namespace, "name": pod}
    with lab.audit_log.open(encoding="utf-8") as lines:
        return [
            datetime.fromisoformat(event["stageTimestamp"])
            for event in operator.complete_events(lines)
            if event["verb"] in WRITES and about.items() <= event.get("objectRef", {}).items()
        ]


@dataclass(frozen=True)
class AuditedWrite:
    """One request by which an operator changed something: when it came and ended, and which operator it was."""

    began: datetime
    ended: datetime
    by: str
    what: str


def read_writes(audit_log: Path, since: datetime) -> list[AuditedWrite]:
    """Everything that any operator changed since then but the Lease and Events, in the order in which it came."""
    found = []
    with audit_log.open(encoding="utf-8") as lines:
        for event in operator.complete_events(lines):
            agent = IDENTITY.search(event.get("userAgent", ""))
            what = event.get("objectRef", {}).get("resource", "")
            is_write = event["verb"] in (*WRITES, "delete") and what not in ("leases", "events")
            is_done = 200 <= event.get("responseStatus", {}).get("code", 0) < 300
            began = datetime.fromisoformat(event["requestReceivedTimestamp"])
            if agent and is_write and is_done and began >= since:
                found.append(AuditedWrite(began, datetime.fromisoformat(event["stageTimestamp"]), agent["who"], what))
    return sorted(found, key=lambda written: written.began)


def check_one_at_a_time(found: list[AuditedWrite]) -> None:
    """Whoever took over began when the last write of the other one had ended, and that one wrote no more."""
    turns = [written.by for written in found]
    changes = [at for at in range(1, len(turns)) if turns[at] != turns[at - 1]]
    assert len(changes) == len(set(turns)) - 1, f"they took turns: {found}"
    for at in changes:
        assert max(written.ended for written in found[:at]) <= found[at].began, found


def written(lab: Lab, resource: str = istio.TARGET.plural) -> list[tuple[str, str]]:
    """(namespace, name) of each write of the operator to such objects, refused ones too."""
    return [
        (event["objectRef"].get("namespace", ""), event["objectRef"].get("name", ""))
        for event in by_operator(lab)
        if event["verb"] in WRITES and event["objectRef"]["resource"] == resource
    ]


def pulled(lab: Lab, ref: str) -> list[str]:
    """What the operator, or the push before, but no gateway asked the open registry about the repository of ``ref``."""
    repository = ref.partition("/")[2].rpartition(":")[0]
    asked = (ASKED.search(line) for line in lab.log("registry").read_text().splitlines())
    return [
        f"{request['verb']} {request['path']}"
        for request in asked
        if request
        and request["path"].startswith(f"/v2/{repository}/")
        and request["agent"].startswith("pluginrelease/")
    ]


def fetched(lab: Lab, ref: str) -> list[str]:
    """The layers that the operator fetched of the repository of ``ref``."""
    return [request for request in pulled(lab, ref) if request.startswith("GET ") and "/blobs/" in request]


def until(lab: Lab, kind: str, namespace: str, name: str, done: Callable[[JSON], bool], seconds: float = 60.0) -> JSON:
    """The object as soon as it is as wanted."""
    for found in lab.watch(kind, "-n", namespace, f"--field-selector=metadata.name={name}", seconds=seconds):
        if done(found):
            return found
    raise AssertionError(f"{kind} {namespace}/{name} did not become as wanted in {seconds:.0f} s")


def await_events(lab: Lab, release: JSON, reasons: set[str], seconds: float = 30.0) -> dict[str, JSON]:
    """The release's Events by reason, once all of these were posted: that happens after the status was written."""
    seen: dict[str, JSON] = {}
    metadata = release["metadata"]
    selector = f"--field-selector=involvedObject.uid={metadata['uid']}"
    for event in lab.watch("events", "-n", metadata["namespace"], selector, seconds=seconds):
        seen[event["reason"]] = event
        if reasons <= seen.keys():
            return seen
    raise AssertionError(f"events {sorted(seen)}, wanted {sorted(reasons)}")
