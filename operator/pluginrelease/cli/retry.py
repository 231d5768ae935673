"""``pluginrelease retry``: the spec is rolled out anew."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from pluginrelease import api
from pluginrelease.cli import _action, _wait
from pluginrelease.cli import wait as waiting
from pluginrelease.cli._verb import (
    ClusterTarget,
    observe,
    output_option,
    parse_seconds,
    print_json,
    run,
    say,
    timeout_option,
    with_target_options,
)
from pluginrelease.edges.kubernetes.client import Cluster


@click.command("retry", short_help="Roll the spec out anew after a failure or a rollback.")
@click.argument("name", metavar="NAME")
@click.option("--wait", "and_wait", is_flag=True, help="Then wait until it is ready or has failed.")
@timeout_option
@output_option
@with_target_options
def command(target: ClusterTarget, name: str, and_wait: bool, timeout: str, output: str) -> None:
    """Have the operator try what the spec of the PluginRelease NAME says once more, whatever became of it before.

    With --wait the exit codes are those of `wait`.
    """
    namespace, patience, value = target.namespace, parse_seconds(timeout), _action.token(datetime.now(UTC))

    async def ask(cluster: Cluster) -> None:
        await _action.annotate(cluster, await observe(cluster, namespace, name), api.RETRY_ANNOTATION, value)

    run(target, ask)
    say(f"{namespace}/{name} is tried again. Its spec is unchanged: nothing has to change in Git.")
    if and_wait:
        outcome = _wait.wait(target, name, _wait.WaitGoal.READY, patience)
        waiting.show(outcome, namespace, name, output)
        _wait.leave(outcome)
    elif output == "json":
        print_json({"namespace": namespace, "name": name, "annotation": api.RETRY_ANNOTATION, "value": value})
