"""``pluginrelease render``: the WasmPlugin that a release would write."""

from __future__ import annotations

from pathlib import Path

import click

from pluginrelease.cli import _manifest
from pluginrelease.cli._verb import ClusterTarget, fetch, print_json, run, say, with_target_options


@click.command("render", short_help="Print the WasmPlugin that a release would write.")
@click.argument("name", metavar="[NAME]", required=False)
@click.option(
    "-f",
    "--filename",
    "file",
    type=click.Path(path_type=Path),
    help="A manifest of it, instead of the one in the cluster; - is stdin. No cluster is needed then.",
)
@click.option("--digest", metavar="sha256:…", help="The digest of the image's manifest, where nobody has resolved it.")
@click.option("-o", "--output", type=click.Choice(["text", "yaml", "json"]), default="text", show_default="yaml")
@with_target_options
def command(target: ClusterTarget, name: str | None, file: Path | None, digest: str | None, output: str) -> None:
    """Print the WasmPlugin that the spec of the PluginRelease NAME, or of a file, wants.

    Of a pull secret only the name is told. Nothing is fetched: a tag needs a status that knows it, or --digest.
    """
    if file is not None:
        rendered = _manifest.render(_manifest.load(file, name, target.given_namespace or "default"), digest)
    elif name is None:
        raise click.UsageError("give NAME, or -f FILE")
    else:
        namespace = target.namespace
        rendered = _manifest.render(run(target, lambda cluster: fetch(cluster, namespace, name)), digest)
    for note in rendered.notes:
        say(f"# {note}")
    if output == "json":
        print_json(rendered.manifest)
    else:
        click.echo(_manifest.as_yaml(rendered.manifest), nl=False)
