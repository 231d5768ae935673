"""``pluginrelease rollback``: run an earlier revision again."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from pluginrelease import api
from pluginrelease.cli import _action
from pluginrelease.cli._verb import ClusterTarget, observe, parse_seconds, run, say
from pluginrelease.cli._wait import WaitGoal
from pluginrelease.core.apiserver import stored
from pluginrelease.edges.kubernetes.client import Cluster


@click.command("rollback", short_help="Run an earlier revision again.")
@click.option(
    "--to",
    metavar="REVISION",
    help="The revision, or its first digits; or `adopted`: the objects as they were before adoption.  "
    "[default: the newest other one that ran]",
)
@_action.with_action_options("Wait until the revision runs, or has failed.")
def command(target: ClusterTarget, name: str, to: str | None, and_wait: bool, timeout: str, output: str) -> None:
    """Make the operator run an earlier revision of the PluginRelease NAME.

    It runs until the spec wants another revision, or until `retry` or another `rollback`. Meanwhile the release is not
    Ready. With --wait, the exit codes are those of `wait --for rolled-back`: 0 when the revision runs everywhere.
    """
    namespace, patience = target.namespace, parse_seconds(timeout)

    async def ask(cluster: Cluster) -> tuple[_action.Choice, str]:
        observed = await observe(cluster, namespace, name)
        chosen = _action.choose(stored.read(observed), to)
        value = f"{chosen.wish}:{_action.token(datetime.now(UTC))}"
        await _action.annotate(cluster, observed, api.ROLLBACK_ANNOTATION, value)
        return chosen, value

    chosen, value = run(target, ask)
    say(
        f"{namespace}/{name} will be rolled back to {chosen.title}. Its spec is unchanged. The rollback "
        f"ends when the spec wants another revision, or with `pluginrelease retry {name} -n {namespace}`. The operator "
        "never writes to Git: if the spec is in Git, put the old version there too."
    )
    goal = WaitGoal.ROLLED_BACK if and_wait else None
    _action.conclude(
        target, name, goal, patience, output, annotation=api.ROLLBACK_ANNOTATION, value=value, revision=chosen.wish
    )
