"""``pluginrelease history``: the revisions that the operator wrote to the gateways."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from pluginrelease import api
from pluginrelease.cli import _view
from pluginrelease.cli._verb import ClusterTarget, fetch, output_option, print_json, run, say, with_target_options


@click.command("history", short_help="List a release's revisions.")
@click.argument("name", metavar="NAME")
@output_option
@with_target_options
def command(target: ClusterTarget, name: str, output: str) -> None:
    """List the revisions of the PluginRelease NAME, newest first.

    * was last seen running in every gateway pod of every gateway, > is the one that is wanted.
    """
    namespace = target.namespace
    status = run(target, lambda cluster: fetch(cluster, namespace, name)).status
    if output == "json":
        print_json(
            {"namespace": namespace, "name": name, "revisions": [facts(entry, status) for entry in status.history]}
        )
    elif status.history:
        click.echo("\n".join(_view.history(status, datetime.now(UTC))))
    else:
        say(f"{namespace}/{name} has written nothing to the gateways yet")


def facts(entry: api.HistoryEntry, status: api.Status) -> dict[str, object]:
    """Return one revision for programs."""
    return {
        **entry.wire(),
        "stable": entry.revision == status.stable_revision,
        "target": entry.revision == status.target_revision,
    }
