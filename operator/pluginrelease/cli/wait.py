"""``pluginrelease wait``: wait until a release is ready or has failed, for scripts."""

from __future__ import annotations

import click

from pluginrelease.cli import _wait
from pluginrelease.cli._verb import (
    ClusterTarget,
    output_option,
    parse_seconds,
    print_json,
    timeout_option,
    with_target_options,
)
from pluginrelease.cli._view import one_line


@click.command("wait", short_help="Wait until a release is ready or has failed.")
@click.argument("name", metavar="NAME")
@click.option(
    "--for",
    "goal",
    type=click.Choice([str(goal) for goal in _wait.WaitGoal]),
    default="ready",
    show_default=True,
    help="ready: until it runs everywhere, or is Stalled. settled: until the operator has nothing left to do. "
    "rolled-back: until the revision of `rollback` runs everywhere. off: until no gateway has the plugin.",
)
@click.option(
    "--image",
    metavar="REFERENCE",
    help="First wait until the spec has this image, written exactly so. For a commit that is not applied yet.",
)
@timeout_option
@output_option
@with_target_options
def command(target: ClusterTarget, name: str, goal: str, image: str | None, timeout: str, output: str) -> None:
    """Wait until the PluginRelease NAME is Ready for its newest generation, retry and rollback.

    With --image, it also waits for a commit to come to the cluster, and for the release itself.

    Exit codes: 0: ready, 1: failed, 2: wrong command line, 3: timeout, 4: no such release, 5: any other error.
    """
    outcome = _wait.wait(target, name, _wait.WaitGoal(goal), parse_seconds(timeout), image)
    show(outcome, target.namespace, name, output)
    _wait.leave(outcome)


def show(outcome: _wait.Outcome, namespace: str, name: str, output: str) -> None:
    """Print the outcome to stdout."""
    if output == "json":
        facts = {"outcome": outcome.word, "reason": outcome.reason, "message": outcome.message}
        print_json({"namespace": namespace, "name": name, **facts})
    else:
        click.echo(one_line(f"{namespace}/{name} {outcome.word}: {outcome.reason}: {outcome.message}"))
