"""``pluginrelease rollback``: an earlier revision runs again."""

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
from pluginrelease.core.apiserver import stored
from pluginrelease.edges.kubernetes.client import Cluster


@click.command("rollback", short_help="Run an earlier revision again.")
@click.argument("name", metavar="NAME")
@click.option("--to", metavar="REVISION", help="Which, or its beginning.  [default: the newest other one that ran]")
@click.option("--wait", "and_wait", is_flag=True, help="Then wait until it is ready or has failed.")
@timeout_option
@output_option
@with_target_options
def command(target: ClusterTarget, name: str, to: str | None, and_wait: bool, timeout: str, output: str) -> None:
    """Have the operator run an earlier revision of the PluginRelease NAME.

    It runs until the spec wants another revision, `retry`, or another rollback. Meanwhile the release is not Ready.
    With --wait the exit codes are those of `wait --for rolled-back`: 0 when that revision runs everywhere.
    """
    namespace, patience = target.namespace, parse_seconds(timeout)

    async def ask(cluster: Cluster) -> tuple[api.HistoryEntry, str]:
        observed = await observe(cluster, namespace, name)
        entry = _action.choose(stored.read(observed), to)
        value = f"{entry.revision}:{_action.token(datetime.now(UTC))}"
        await _action.annotate(cluster, observed, api.ROLLBACK_ANNOTATION, value)
        return entry, value

    entry, value = run(target, ask)
    say(
        f"{namespace}/{name} goes back to revision {entry.revision} ({entry.ref}). Its spec is unchanged: this ends "
        f"when the spec wants another revision, or with `pluginrelease retry {name} -n {namespace}`. The operator "
        "never writes to Git: if the spec comes from there, put the old version there too."
    )
    if and_wait:
        outcome = _wait.wait(target, name, _wait.WaitGoal.ROLLED_BACK, patience)
        waiting.show(outcome, namespace, name, output)
        _wait.leave(outcome)
    elif output == "json":
        facts = {"annotation": api.ROLLBACK_ANNOTATION, "value": value, "revision": entry.revision}
        print_json({"namespace": namespace, "name": name, **facts})
