"""``pluginrelease diff``: what a change of a release would change on the gateways."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pluginrelease import api
from pluginrelease.cli import _action, _manifest
from pluginrelease.cli._verb import ClusterTarget, fetch, output_option, print_json, run, say, with_target_options
from pluginrelease.controller import revisions
from pluginrelease.core import revision
from pluginrelease.core.apiserver import stored
from pluginrelease.core.mesh import providers
from pluginrelease.core.mesh import target as targets
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.resources import RELEASES

JSON = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """One of the two objects, and what it is called; None: there is no such object."""

    name: str
    manifest: JSON | None
    notes: tuple[str, ...] = ()


@click.command("diff", short_help="Show what differs between two states of a release's WasmPlugin.")
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--from", "older", metavar="REVISION", help="A kept revision.  [default: what is in the cluster]")
@click.option("--to", "newer", metavar="REVISION", help="A kept revision.  [default: what the spec wants]")
@click.option(
    "-f",
    "--filename",
    "file",
    type=click.Path(path_type=Path),
    help="A manifest whose spec is compared, instead of the one in the cluster; - is stdin.",
)
@output_option
@with_target_options
def command(
    target: ClusterTarget, name: str | None, older: str | None, newer: str | None, file: Path | None, output: str
) -> None:
    """Show how the WasmPlugin of the PluginRelease NAME differs from what its spec wants, or between two revisions.

    Exit code 0: no difference, 1: differences, more: an error.
    """
    if file is not None and newer is not None:
        raise click.UsageError("--to and -f both say what to compare with: give one")
    local = _manifest.load(file, name, target.given_namespace or target.namespace) if file is not None else None
    if local is None and name is None:
        raise click.UsageError("give NAME, or -f FILE")
    namespace = local.metadata.namespace if local else target.namespace
    called = local.metadata.name if local else str(name)
    before, after = run(target, lambda cluster: load_sides(cluster, namespace, called, local, older, newer))
    text = _manifest.diff_objects(before.manifest, after.manifest or {}, titles=(before.name, after.name))
    for note in (*before.notes, *after.notes):
        say(f"# {note}")
    if output == "json":
        print_json({"different": bool(text), "from": before.name, "to": after.name, "diff": text})
    else:
        click.echo(text, nl=False)
    sys.exit(1 if text else 0)


async def load_sides(
    cluster: Cluster, namespace: str, name: str, local: api.Release | None, older: str | None, newer: str | None
) -> tuple[Side, Side]:
    """The two objects."""
    release = await load_wanted(cluster, namespace, name, local)
    after = await load_kept(cluster, release, newer) if newer else render_spec(release, local is not None)
    before = (
        await load_kept(cluster, release, older) if older else await load_live(cluster, release, after.manifest or {})
    )
    return before, after


async def load_wanted(cluster: Cluster, namespace: str, name: str, local: api.Release | None) -> api.Release:
    """The release of the cluster, with the spec of the local manifest if there is one."""
    if local is None:
        return await fetch(cluster, namespace, name)
    found = await cluster.get(RELEASES, namespace, name)
    return _manifest.with_identity(local, stored.read(found) if found else None)


def render_spec(release: api.Release, is_local: bool) -> Side:
    """What the spec wants. How often gateways were made to fetch anew is no difference of the spec's."""
    rendered = _manifest.render_unresolved(release)
    return Side("file" if is_local else "spec", rendered.manifest, rendered.notes)


async def load_kept(cluster: Cluster, release: api.Release, wanted: str) -> Side:
    """A revision of the history, by its ControllerRevision."""
    entry = _action.pick(release, wanted)
    recorded = await revisions.recall(cluster, release, entry.revision)
    effective = revision.effective(release, recorded)
    return Side(
        f"revision {entry.revision}", providers.of(effective.spec.gateway).wasm_plugin(effective, recorded.artifact)
    )


async def load_live(cluster: Cluster, release: api.Release, other: JSON) -> Side:
    """The WasmPlugin in the cluster, without what is not the release's."""
    where = (release.spec.gateway.namespace, targets.name_object(release))
    found = await cluster.get(resources.resource_for(providers.of(release.spec.gateway).TARGET), *where)
    title = f"live {'/'.join(where)}"
    if found is None:
        return Side(title, None, (f"there is no WasmPlugin {'/'.join(where)}",))
    return Side(title, _manifest.strip_metadata(found, other))
