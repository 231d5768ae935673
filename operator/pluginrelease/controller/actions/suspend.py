"""Suspend: plugins keep running, and the operator does not check them."""

from __future__ import annotations

from pluginrelease.api import ConditionType
from pluginrelease.controller.actions.notes import RESTORE_LEVELS
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.steps import Names, Once, Step
from pluginrelease.core.rollout.facts import Facts
from pluginrelease.core.rollout.release_results import Suspended


async def say_suspended(work: PassContext, facts: Facts, names: Names) -> Suspended:
    """Report the suspension in the status."""
    return Suspended()


STEPS: tuple[Step, ...] = (Once(ConditionType.APPLIED, say_suspended), RESTORE_LEVELS)
