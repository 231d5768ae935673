"""``pluginrelease status``: the state of a release and its cause, for people."""

from __future__ import annotations

import shutil
import sys
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any

import click

from pluginrelease import api
from pluginrelease.cli import _view, _wait
from pluginrelease.cli._verb import (
    DEADLINE_SECONDS,
    ClusterTarget,
    fetch,
    output_option,
    print_json,
    refuse_missing,
    run,
    say,
    with_target_options,
)
from pluginrelease.core.apiserver import stored
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.resources import RELEASES

# a watch runs until Ctrl-C; this limit ends one that was forgotten
WATCH_SECONDS = 7 * 24 * 3600.0


@click.command("status", short_help="Show the state of a release, and why.")
@click.argument("name", metavar="[NAME]", required=False)
@click.option("-A", "--all-namespaces", is_flag=True, help="Show the releases of all namespaces.")
@click.option("-w", "--watch", is_flag=True, help="Show the release again at every change, until Ctrl-C.")
@output_option
@with_target_options
def command(target: ClusterTarget, name: str | None, all_namespaces: bool, watch: bool, output: str) -> None:
    """Show the PluginRelease NAME as a tree, or a table of all releases of the namespace."""
    if watch and name is None:
        raise click.UsageError("--watch needs NAME; to watch all releases, use kubectl get prel --watch")
    if name is not None and all_namespaces:
        raise click.UsageError("remove --all-namespaces or NAME: a name is in one namespace")
    if name is None:
        show_all(target, None if all_namespaces else target.namespace, output)
        return
    namespace = target.namespace
    if watch:
        with suppress(KeyboardInterrupt):
            run(target, lambda cluster: follow(cluster, namespace, name, output), deadline=WATCH_SECONDS)
        return
    show(run(target, lambda cluster: fetch(cluster, namespace, name), deadline=DEADLINE_SECONDS), output)


async def follow(cluster: Cluster, namespace: str, name: str, output: str) -> None:
    """Show the release at every change. Raises `Refused` (ReleaseNotFound), also if it is deleted meanwhile."""
    while True:
        async with aclosing(cluster.follow(RELEASES, namespace, name)) as changes:
            async for found in changes:
                if found is None:
                    raise refuse_missing(namespace, name)
                if output == "text":
                    between()
                show(stored.read(found), output)


def between() -> None:
    """Clear a terminal; in a file, print the time between two outputs."""
    if sys.stdout.isatty():
        click.clear()
    else:
        click.echo(f"\n--- {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")


def show(release: api.Release, output: str) -> None:
    """Print one release to stdout."""
    if output == "json":
        print_json(facts(release))
    else:
        click.echo(_view.tree(release, datetime.now(UTC), shutil.get_terminal_size((100, 24)).columns))


def show_all(target: ClusterTarget, namespace: str | None, output: str) -> None:
    """Print all releases to stdout."""
    found = run(target, lambda cluster: cluster.list(RELEASES, namespace, {}))
    releases, unreadable = stored.sort_out(found)
    if output == "json":
        print_json({"items": [facts(release) for release in releases]})
    elif releases:
        click.echo("\n".join(_view.overview(releases, datetime.now(UTC))))
    elif not unreadable:
        click.echo(f"no PluginRelease in {f'namespace {namespace}' if namespace else 'any namespace'}", err=True)
    for refused in unreadable[1:]:
        say(f"{refused.reason}: {refused.message}")
    if unreadable:
        raise unreadable[0]


def facts(release: api.Release) -> dict[str, Any]:
    """Return for programs: the release, whether its status is about the current spec and commands, and the status."""
    own = release.metadata
    return {
        "namespace": own.namespace,
        "name": own.name,
        "generation": own.generation,
        "current": _wait.is_answered(release),
        "status": release.status.wire(),
    }
