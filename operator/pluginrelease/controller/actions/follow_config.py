"""FollowConfig: read the values that ``configFrom`` names. Other values begin a rollout.

If they cannot be read, this is no error yet: `require_config` raises it before anything new is compared or written.
"""

from __future__ import annotations

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.controller import config_secrets
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.secrets import config_sources
from pluginrelease.controller.steps import Names, Once, Step
from pluginrelease.core.config_values import ConfigValues
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.rollout import decisions
from pluginrelease.core.rollout.facts import Facts
from pluginrelease.core.rollout.release_results import ConfigMoved, ConfigNotRead, ConfigRead, ReleaseResult

log = structlog.get_logger(__name__)


async def follow_config(work: PassContext, facts: Facts, names: Names) -> ReleaseResult:
    """Return the values as they are now, and another rollout if they are not those of the present one."""
    try:
        config = await read_values(work, facts.release)
    except ReleaseError as error:
        log.info("could not read the values of configFrom", reason=error.reason, message=error.message)
        return ConfigNotRead(error)
    under_way, handled = facts.rollout, facts.report.handled or api.Handled()
    if under_way is None or under_way.config_digest in (None, config.digest):
        return ConfigRead(config)
    log.info("the values of configFrom have changed")
    known = decisions.RolloutStart(under_way, handled)
    return ConfigMoved(config, decisions.begin_with(facts.release, known, config.digest, work.now()))


async def read_values(work: PassContext, release: api.Release) -> ConfigValues:
    """Return the values. Raises `ReleaseError`."""
    key = await config_secrets.find_key(work, release)
    return await config_sources.read(work.reader, release, key)


async def require_config(work: PassContext, facts: Facts, names: Names) -> None:
    """Raise the error of values that could not be read. An old revision that a user asked for has its own."""
    is_old = facts.rollout is not None and facts.rollout.rollback_to is not None
    if facts.config_error is not None and not is_old:
        raise facts.config_error


STEPS: tuple[Step, ...] = (Once(ConditionType.APPLIED, follow_config),)
