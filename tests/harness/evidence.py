"""What the real parts wrote down about the operator: the API server's audit log, a registry's access log, events.

Asking the operator whether it wrote something proves nothing; these would have seen it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pluginrelease.core.mesh import istio
from pluginrelease_lab import Lab, operator

JSON = dict[str, Any]

WRITES = ("create", "update", "patch")
# <host> - - [time] "GET /v2/tests/plugin/manifests/1.0 HTTP/1.1" 200 …
ASKED = re.compile(r'"(?P<verb>GET|HEAD) (?P<path>/v2/\S+) HTTP/[^"]*" (?P<status>\d+) .*"(?P<agent>[^"]*)"$')


def by_operator(lab: Lab) -> list[JSON]:
    """The audit events of everything that the operator asked of the API server so far."""
    user = f"system:serviceaccount:{operator.NAMESPACE}:{operator.service_account(operator.NAMESPACE)}"
    return list(operator.audited(lab, user))


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
        f"{one['verb']} {one['path']}"
        for one in asked
        if one and one["path"].startswith(f"/v2/{repository}/") and one["agent"].startswith("pluginrelease/")
    ]


def fetched(lab: Lab, ref: str) -> list[str]:
    """The layers that the operator fetched of the repository of ``ref``."""
    return [one for one in pulled(lab, ref) if one.startswith("GET ") and "/blobs/" in one]


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
