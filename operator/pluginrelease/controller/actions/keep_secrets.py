"""KeepSecrets: copy a rotated pull secret to the gateways, even if the registry is down; keep a revision's values."""

from __future__ import annotations

from pluginrelease.api import ConditionType
from pluginrelease.controller import config_secrets
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.preparing import keep_secret_of_carried
from pluginrelease.controller.steps import Each, Names, Once, Step
from pluginrelease.core.rollout.facts import Facts


async def keep_values(work: PassContext, facts: Facts, names: Names) -> None:
    """Keep the values of the revision that runs, also if another client has deleted them."""
    carried = facts.views(names)[0].carried
    await config_secrets.keep(work, facts.release, carried.revision, carried.placement.config)


STEPS: tuple[Step, ...] = (
    Each(ConditionType.APPLIED, keep_secret_of_carried),
    Once(ConditionType.APPLIED, keep_values),
)
