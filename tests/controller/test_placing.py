"""An entry whose pods Istio would not give the plugin to is left out, and the others go on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import preflight
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.reading import DirectReader
from pluginrelease.controller.steps import Each, run_action
from pluginrelease.core.gateway.observations import PodObservation, PodRef, ProxyRole
from pluginrelease.core.rollout import facts
from pluginrelease.core.rollout.actions import RollOut
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.rollout.facts import Facts
from tests.controller.scripted_api import ScriptedAPI, context
from tests.harness.releases import ARTIFACT, manifest

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROLES = {
    "edge": (ProxyRole.ROUTER, None),
    "shop": (ProxyRole.ROUTER, ProxyRole.SIDECAR),
    "mesh": (ProxyRole.WAYPOINT,),
}


def observed(role: ProxyRole | None) -> PodObservation:
    """A pod whose Envoy is this to Istio; a waypoint has a Gateway."""
    gateway = "waypoint" if role is ProxyRole.WAYPOINT else None
    return PodObservation(PodRef("apps", f"pod-{role}", f"{role}", ready=True, gateway=gateway, role=role), NOW)


def known_of(cluster: ScriptedAPI) -> Facts:
    """A release with an entry for each of ROLES, whose pods were looked at."""
    [body] = cluster.objects.values()
    known = facts.begin(api.Release.model_validate(body), NOW)
    for entry in known.entries:
        aimed = Candidate(known.view(entry.name).placement(), ARTIFACT)
        seen = tuple(observed(role) for role in ROLES[entry.name])
        known = known.with_entry(replace(entry, aimed=aimed, before=seen))
    return known


async def test_only_the_entries_with_such_pods_are_left_out() -> None:
    """A selector that matches a sidecar or a waypoint is refused, and says which of the two it is."""
    labels = {name: {"matchLabels": {"app": name}} for name in ROLES}
    entries = [{"name": name, "namespace": "apps", "selector": selector} for name, selector in labels.items()]
    cluster = ScriptedAPI(manifest(spec__gateways=entries))
    work = PassContext(context(cluster), DirectReader(cast(Any, cluster)))
    steps = (Each(ConditionType.APPLIED, preflight.check_place),)
    done = await run_action(work, known_of(cluster), RollOut(tuple(ROLES)), steps)
    failures = {entry.name: entry.report.failure for entry in done.entries}
    assert {name: failure.error.reason if failure else None for name, failure in failures.items()} == {
        "edge": None,
        "shop": Reason.PROXIES_DIFFER,
        "mesh": Reason.SELECTOR_IGNORED,
    }
