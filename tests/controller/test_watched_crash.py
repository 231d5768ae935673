"""A gateway crashes soon after Ready: what ran before is written back, unless another release is to blame first."""

from __future__ import annotations

import contextlib
import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.controller import interruption
from pluginrelease.controller.interruption import SeenRelease
from pluginrelease.controller.reconcile import reconcile
from pluginrelease.core import revision
from pluginrelease.core.errors import ReleaseError
from tests.controller.rolling import NEW, OLD, crashed, old, rolling_out, written
from tests.controller.scripted_api import ScriptedAPI, context
from tests.harness.releases import ARTIFACT

JSON = dict[str, Any]

WROTE_LATER = "2026-01-01T00:00:05Z"


def ready() -> JSON:
    """The release whose new revision ran everywhere a moment ago, and before which an old one did."""
    body = rolling_out()
    now = times.format_time(datetime.now(UTC))
    [row] = body["status"]["gateways"]
    before = row["stable"]
    watch = {"since": now, "revision": before["revision"], "selector": before.get("selector")}
    place = {"namespace": "istio-ingress", "name": written(body)["metadata"]["name"]}
    carrier = {"apiVersion": written(body)["apiVersion"], "kind": "WasmPlugin", **place}
    row |= {"stable": {**before, "revision": NEW}, "watch": watch, "object": carrier, "state": "Loaded"}
    body["status"]["rollout"]["completedAt"] = now
    return body


def neighbour(body: JSON) -> JSON:
    """Another release on the same pods, which wrote after this one and has not run everywhere since."""
    other = copy.deepcopy(body)
    other["metadata"] |= {"name": "other", "uid": "other"}
    noted = {"name": "public", "revision": NEW, "since": WROTE_LATER}
    other["status"] = {"checkpoint": {"gateways": [noted]}}
    return other


CASES = [
    ("nobody else wrote to these gateways", False, OLD),
    ("another release wrote later, and is to go back first", True, NEW),
]


@pytest.mark.parametrize(("reason", "with_neighbour", "carried"), CASES, ids=[row[0] for row in CASES])
async def test_what_the_object_carries_then(reason: str, with_neighbour: bool, carried: str) -> None:
    """By the pods' status alone, as in a rollout; a crash that somebody else is blamed for changes nothing."""
    body = ready()
    new = revision.manifest(api.Release.model_validate(body), ARTIFACT, 1)
    others = [neighbour(body)] if with_neighbour else []
    cluster = ScriptedAPI(body, written(body), old(body), new, crashed(), *others)
    known, release = context(cluster), api.Release.model_validate(body)
    assert bool(await interruption.find_crash(known, release)) is not with_neighbour, reason
    with contextlib.suppress(ReleaseError):
        await reconcile(known, release, attempt=0)
    [plugin] = [thing for key, thing in cluster.objects.items() if key[0].plural == "wasmplugins"]
    assert plugin["metadata"]["annotations"][api.REVISION_ANNOTATION] == carried, reason


async def test_it_ends_the_pass_under_way() -> None:
    """A crash of what is watched is as urgent as one in a rollout."""
    body = ready()
    new = revision.manifest(api.Release.model_validate(body), ARTIFACT, 1)
    cluster = ScriptedAPI(body, written(body), old(body), new, crashed())
    assert await interruption.is_urgent(context(cluster), ("istio-ingress", "auth"), SeenRelease())
