"""``pluginrelease diff``: what a change of a release would change on the gateways."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from pluginrelease import api
from pluginrelease.cli import _action, _manifest
from pluginrelease.cli._verb import ClusterTarget, fetch, output_option, print_json, run, say, with_target_options
from pluginrelease.controller import revisions
from pluginrelease.core import revision
from pluginrelease.core.apiserver import stored
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh import providers
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.revision import Recorded
from pluginrelease.core.rollout import placements, plan
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.resources import RELEASES

JSON = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """One of the two objects and its name; None if there is no such object."""

    name: str
    manifest: JSON | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """What is compared for one entry of spec.gateways."""

    gateway: str
    before: Side
    after: Side

    @property
    def text(self) -> str:
        """Return the unified diff; empty if there is no difference."""
        names = (self.before.name, self.after.name)
        return _manifest.diff_objects(self.before.manifest, self.after.manifest, titles=names)

    def as_json(self) -> JSON:
        """Return it for programs."""
        text, names = self.text, {"from": self.before.name, "to": self.after.name}
        return {"name": self.gateway, "different": bool(text), **names, "diff": text}


@click.command("diff", short_help="Show what differs between two states of a release's WasmPlugins.")
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
@click.option("--gateway", metavar="NAME", help="Only the object of this entry of spec.gateways.")
@output_option
@with_target_options
def command(
    target: ClusterTarget,
    name: str | None,
    older: str | None,
    newer: str | None,
    file: Path | None,
    gateway: str | None,
    output: str,
) -> None:
    """Show how the WasmPlugins of the PluginRelease NAME differ from what its spec wants, or between two revisions.

    One object for each of its gateways. Exit code 0: no difference, 1: differences, more: an error.
    """
    if file is not None and newer is not None:
        raise click.UsageError("--to and -f both say what to compare with: give one")
    local = _manifest.load(file, name, target.given_namespace or target.namespace) if file is not None else None
    if local is None and name is None:
        raise click.UsageError("give NAME, or -f FILE")
    namespace = local.metadata.namespace if local else target.namespace
    called = local.metadata.name if local else str(name)

    async def compare(cluster: Cluster) -> list[Pair]:
        release = await load_wanted(cluster, namespace, called, local)
        return await load_pairs(cluster, release, older, newer, gateway, "file" if local else "spec")

    found = run(target, compare)
    sys.exit(show(found, output))


def show(found: list[Pair], output: str) -> int:
    """Print the differences; return the exit code."""
    different = any(pair.text for pair in found)
    for note in dict.fromkeys(note for pair in found for side in (pair.before, pair.after) for note in side.notes):
        say(f"# {note}")
    if output == "json":
        print_json({"different": different, "gateways": [pair.as_json() for pair in found]})
    else:
        click.echo("".join(pair.text for pair in found), nl=False)
    return 1 if different else 0


async def load_wanted(cluster: Cluster, namespace: str, name: str, local: api.Release | None) -> api.Release:
    """Return the release of the cluster, with the spec of the local manifest if there is one."""
    if local is None:
        return placements.carry_over(await fetch(cluster, namespace, name))
    found = await cluster.get(RELEASES, namespace, name)
    return placements.carry_over(_manifest.with_identity(local, stored.read(found) if found else None))


async def load_pairs(
    cluster: Cluster, release: api.Release, older: str | None, newer: str | None, gateway: str | None, source: str
) -> list[Pair]:
    """Return a pair for each entry of the spec, and for each entry that the spec no longer names.

    ``source``: the name of the wanted spec in the output.
    """
    removed = [] if older or newer else placements.removed_rows(release)
    if gateway is not None and gateway in {row.name for row in removed}:
        return await load_removals(cluster, release, [row for row in removed if row.name == gateway], source)
    entries = _manifest.choose_placements(release, gateway)
    kept = [await load_kept(cluster, release, wanted) if wanted else None for wanted in (older, newer)]
    found = []
    for entry in entries:
        after = render_revision(entry, kept[1]) if kept[1] else render_spec(entry, source)
        before = render_revision(entry, kept[0]) if kept[0] else await load_live(cluster, entry, after.manifest or {})
        found.append(hide_values(Pair(entry.name, before, after)))
    return found if gateway else [*found, *await load_removals(cluster, release, removed, source)]


def hide_values(pair: Pair) -> Pair:
    """Return a pair without the values of ``configFrom``, in the places that one of the two objects names."""
    old, new = pair.before.manifest, pair.after.manifest
    if old is None or new is None:
        return pair
    before = replace(pair.before, manifest=_manifest.hide_values(old, new))
    return replace(pair, before=before, after=replace(pair.after, manifest=_manifest.hide_values(new, old)))


def render_spec(placement: Placement, source: str) -> Side:
    """Return what the spec wants. The number of forced fetches is copied, because it is no difference of the spec."""
    rendered = _manifest.render_unresolved(placement)
    return Side(source, rendered.manifest, rendered.notes)


async def load_kept(cluster: Cluster, release: api.Release, wanted: str) -> Recorded:
    """Return a revision of the history from its ControllerRevision."""
    return await revisions.recall(cluster, release, _action.pick(release, wanted).revision)


def render_revision(placement: Placement, recorded: Recorded) -> Side:
    """Return the entry's object as a kept revision made it, or would make it."""
    effective = Placement(revision.effective(placement.release, recorded), placement.gateway, recorded.config)
    manifest = providers.plugin_api_of(effective.spec).wasm_plugin(effective, recorded.artifact)
    return Side(f"revision {recorded.revision}", manifest)


async def load_live(cluster: Cluster, placement: Placement, other: JSON) -> Side:
    """Return the entry's WasmPlugin in the cluster, without fields of others."""
    where = placements.object_place(placement)
    found = await load_carrier(cluster, placement.release, *where)
    if found is None:
        return make_absent(where)
    stripped = _manifest.strip_metadata(_manifest.hide_values(found, other), other)
    return Side(f"live {'/'.join(where)}", stripped, tuple(describe_claim(placement, found)))


def describe_claim(placement: Placement, found: JSON) -> Iterable[str]:
    """Yield remarks about an object that does not belong to the release yet."""
    if plan.is_ours(placement.release, found):
        return
    try:
        plan.check_owner(placement, found)
    except Refused as refused:
        yield f"{refused.reason}: {refused.sentence()}"
    else:
        where = "/".join(placements.object_place(placement))
        yield (
            f"{where} will be taken over by gateway {placement.name} (adopt: true). The operator keeps a copy of it "
            "as it is now"
        )


async def load_removals(
    cluster: Cluster, release: api.Release, rows: Iterable[api.GatewayStatus], source: str
) -> list[Pair]:
    """Return what happens to the objects of entries that the spec no longer names."""
    return [await load_removal(cluster, release, row, row.object, source) for row in rows if row.object is not None]


async def load_removal(
    cluster: Cluster, release: api.Release, row: api.GatewayStatus, known: api.ObjectStatus, source: str
) -> Pair:
    """Return one such pair: the object is deleted, or stays as ``deletionPolicy`` says."""
    where = placements.identity(known)
    observed = await load_carrier(cluster, release, *where)
    if observed is None:
        return Pair(row.name, make_absent(where), Side(source, None))
    observed = _manifest.hide_values(observed)
    shown: JSON = {key: observed[key] for key in ("apiVersion", "kind", "spec") if key in observed}
    name = f"live {'/'.join(where)}"
    manifest: JSON = {**shown, "metadata": {"name": where[1], "namespace": where[0]}}
    if placements.outlives(release, row):
        is_given_back = row.adopted is not None and release.spec.deletion_policy is None
        becomes = "is restored as it was before adoption" if is_given_back else "is left as it is"
        note = f"{'/'.join(where)} stays: the spec no longer has gateway {row.name}, and its object {becomes}"
        return Pair(row.name, Side(name, manifest), Side(source, manifest, (note,)))
    return Pair(row.name, Side(name, manifest), Side(source, None))


async def load_carrier(cluster: Cluster, release: api.Release, namespace: str, name: str) -> JSON | None:
    """Return a WasmPlugin of the release's provider as it is in the cluster; None if there is none."""
    return await cluster.get(resources.resource_for(providers.plugin_api_of(release.spec).TARGET), namespace, name)


def make_absent(where: tuple[str, str]) -> Side:
    """Return the side of an object that does not exist."""
    return Side(f"live {'/'.join(where)}", None, (f"there is no WasmPlugin {'/'.join(where)}",))
