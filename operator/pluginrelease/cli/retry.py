"""``pluginrelease retry``: roll out the spec again."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from pluginrelease import api
from pluginrelease.cli import _action
from pluginrelease.cli._verb import ClusterTarget, parse_seconds, say
from pluginrelease.cli._wait import WaitGoal


@click.command("retry", short_help="Roll out the spec again after a failure or a rollback.")
@_action.with_action_options("Wait until the release is ready or has failed.")
def command(target: ClusterTarget, name: str, and_wait: bool, timeout: str, output: str) -> None:
    """Make the operator roll out the spec of the PluginRelease NAME again, also after a failure or a rollback.

    With --wait, the exit codes are those of `wait`.
    """
    namespace, patience, value = target.namespace, parse_seconds(timeout), _action.token(datetime.now(UTC))
    _action.request(target, name, api.RETRY_ANNOTATION, value)
    say(f"{namespace}/{name} will be rolled out again. Its spec is unchanged, so you need not change Git.")
    goal = WaitGoal.READY if and_wait else None
    _action.conclude(target, name, goal, patience, output, annotation=api.RETRY_ANNOTATION, value=value)
