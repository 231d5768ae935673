"""AskConsent: check that the spec is valid, and that the gateways' namespaces allow the release's namespace."""

from __future__ import annotations

from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.steps import Each, Names, Once, Step
from pluginrelease.core.errors import Waiting
from pluginrelease.core.mesh import reach
from pluginrelease.core.rollout import plan
from pluginrelease.core.rollout.facts import EntryView, Facts


async def check_durations(work: PassContext, facts: Facts, names: Names) -> None:
    """Raise `Refused` (InvalidDuration) if a duration of the spec is invalid or too long."""
    plan.check_durations(facts.release.spec)


async def check_reach(work: PassContext, entry: EntryView) -> None:
    """Raise `Refused` (RootNamespaceNotWatched, GatewayNamespaceNotWatched) if the operator has no rights there."""
    reach.check(entry.placement(), entry.mesh.pods(entry.gateway, work.mesh), work.settings.scope)


async def check_permission(work: PassContext, entry: EntryView) -> None:
    """Raise `Refused` (NamespaceNotAllowed) if the gateway's namespace does not allow the release's."""
    placement = entry.placement()
    if placement.is_local:
        return
    theirs = entry.gateway.namespace
    found = await work.reader.namespace(theirs)
    if found is None:
        raise Waiting(
            Reason.NAMESPACE_NOT_FOUND,
            f"gateways[{entry.name}].namespace names {theirs}, which does not exist",
            "Create it, or remove the entry and make one that names another",
        )
    plan.check_allowed(placement, found)


STEPS: tuple[Step, ...] = (
    Once(ConditionType.APPLIED, check_durations),
    Each(ConditionType.APPLIED, check_reach),
    Each(ConditionType.APPLIED, check_permission),
)
