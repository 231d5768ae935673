"""``pluginrelease render``: the WasmPlugins that a release would write."""

from __future__ import annotations

from pathlib import Path

import click

from pluginrelease.cli import _manifest
from pluginrelease.cli._verb import ClusterTarget, fetch, print_json, run, say, with_target_options


@click.command("render", short_help="Print the WasmPlugins that a release would write.")
@click.argument("name", metavar="[NAME]", required=False)
@click.option(
    "-f",
    "--filename",
    "file",
    type=click.Path(path_type=Path),
    help="Read the release from this manifest instead of a cluster; - is stdin.",
)
@click.option(
    "--digest", metavar="sha256:…", help="Digest of the image's manifest, if the operator has not resolved it."
)
@click.option("--gateway", metavar="NAME", help="Print only the object of this entry of spec.gateways.")
@click.option("-o", "--output", type=click.Choice(["text", "yaml", "json"]), default="text", show_default="yaml")
@with_target_options
def command(
    target: ClusterTarget, name: str | None, file: Path | None, digest: str | None, gateway: str | None, output: str
) -> None:
    """Print the WasmPlugins that the PluginRelease NAME, or a file, asks for: one for each entry of spec.gateways.

    The output has only the name of a pull secret. The command fetches nothing: a tag needs a status that has its
    digest, or --digest. As JSON, several objects are a List; with --gateway the output is the object alone.
    """
    if file is not None:
        release = _manifest.load(file, name, target.given_namespace or "default")
    elif name is None:
        raise click.UsageError("give NAME, or -f FILE")
    else:
        namespace = target.namespace
        release = run(target, lambda cluster: fetch(cluster, namespace, name))
    rendered = _manifest.render(release, digest, gateway)
    for note in dict.fromkeys(note for carrier in rendered for note in carrier.notes):
        say(f"# {note}")
    manifests = [carrier.manifest for carrier in rendered]
    if output != "json":
        click.echo("---\n".join(map(_manifest.as_yaml, manifests)), nl=False)
    elif gateway is not None:
        print_json(manifests[0])
    else:
        print_json({"apiVersion": "v1", "kind": "List", "items": manifests})
