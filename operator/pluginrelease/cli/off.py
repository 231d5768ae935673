"""``pluginrelease off``: remove the plugin from every gateway at once."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from pluginrelease import api
from pluginrelease.cli import _action
from pluginrelease.cli._verb import ClusterTarget, parse_seconds, say
from pluginrelease.cli._wait import WaitGoal
from pluginrelease.core.rollout import switch


@click.command("off", short_help="Remove the plugin from every gateway, until `on`.")
@click.option("--reason", required=True, metavar="TEXT", help="The reason, for the next user who looks at the release.")
@_action.with_action_options("Wait until no gateway has the plugin.")
def command(target: ClusterTarget, name: str, reason: str, and_wait: bool, timeout: str, output: str) -> None:
    """Have the operator remove the plugin of the PluginRelease NAME from every gateway at once, and keep it off.

    Neither a changed spec, nor a tag, nor `retry` brings it back: `on` does. With --wait the exit codes are those of
    `wait --for off`: 0 when the plugin is on no gateway.
    """
    why = switch.read_reason(reason)
    if not why:
        raise click.BadParameter(
            "give a reason: the next user who looks at the release will ask", param_hint="--reason"
        )
    namespace, patience = target.namespace, parse_seconds(timeout)
    value = f"{_action.token(datetime.now(UTC))}: {why}"
    _action.request(target, name, api.OFF_ANNOTATION, value, without=api.ON_ANNOTATION)
    say(
        f"{namespace}/{name} is switched off: {why}. Requests pass its gateways without the plugin until "
        f"`pluginrelease on {name} -n {namespace}`."
    )
    goal = WaitGoal.OFF if and_wait else None
    _action.conclude(target, name, goal, patience, output, annotation=api.OFF_ANNOTATION, value=value)
