"""``pluginrelease on``: run a release again that was switched off."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from pluginrelease import api
from pluginrelease.cli import _action
from pluginrelease.cli._verb import ClusterTarget, parse_seconds, say
from pluginrelease.cli._wait import WaitGoal


@click.command("on", short_help="End `off`, and roll out the spec.")
@_action.with_action_options("Wait until the release is ready or has failed.")
def command(target: ClusterTarget, name: str, and_wait: bool, timeout: str, output: str) -> None:
    """Have the operator roll out what the spec of the PluginRelease NAME says, after `off`, with every check.

    With --wait the exit codes are those of `wait`.
    """
    namespace, patience, value = target.namespace, parse_seconds(timeout), _action.token(datetime.now(UTC))
    # if the object is restored without its status, a remaining `off` would switch it off again
    _action.request(target, name, api.ON_ANNOTATION, value, without=api.OFF_ANNOTATION)
    say(f"{namespace}/{name} is switched on. The operator checks its spec and rolls it out.")
    goal = WaitGoal.READY if and_wait else None
    _action.conclude(target, name, goal, patience, output, annotation=api.ON_ANNOTATION, value=value)
