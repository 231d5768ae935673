"""``make bench``: measure on a lab of its own, print the table, write bench/results.json."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import click

from bench import figures
from bench.apply_to_served import Bench
from pluginrelease import lab
from pluginrelease.core.errors import ReleaseError
from pluginrelease.edges import builder
from pluginrelease.lab import Lab, LabError, operator

HERE = Path(__file__).parent
PLUGIN = HERE.parent / "tests" / "fixtures" / "plugins" / "versioned"
AIM = 1.25


@click.command()
@click.option("--turns", default=10, show_default=True, type=click.IntRange(3, 100), help="Counted turns of each way.")
@click.option("--gateways", default=2, show_default=True, type=click.IntRange(1, 20), help="Gateway pods.")
@click.option(
    "--results", default=HERE / "results.json", type=click.Path(path_type=Path), help="Where they are written."
)
def main(turns: int, gateways: int, results: Path) -> None:
    """Time from apply to served: a PluginRelease against a bare kubectl apply of the same WasmPlugin."""
    try:
        found, ready = measure(turns, gateways)
    except (LabError, ReleaseError, TimeoutError) as error:
        raise click.ClickException(str(error)) from error
    results.write_text(json.dumps(figures.results(found), indent=2) + "\n")
    click.echo(f"\n{figures.table(found)}\n")
    click.echo(f"the operator said Ready {ready:.1f} s after apply (median); the aim for apply-to-served is {AIM}")
    click.echo(f"written to {results}")


def measure(turns: int, gateways: int) -> tuple[list[figures.Figure], float]:
    """Both figures, and the median time until our release was Ready, on a lab that ends with this call."""
    with tempfile.TemporaryDirectory(prefix="pluginrelease-bench-") as folder:
        workplace = Path(folder)
        module = builder.compile_go(PLUGIN, workplace / "versioned.wasm", deadline=600).path.read_bytes()
        with lab.up(name="bench", gateways=gateways, report=say) as running:
            start_operator(running)
            bench = Bench(running, module, workplace, say)
            found = bench.run(turns)
            refused = operator.forbidden(running)
        if refused:
            raise LabError(f"the operator was refused {refused[0]}: what was measured is not the whole of its work")
        return found, bench.median_ready


def start_operator(running: Lab) -> None:
    """As the chart's ServiceAccount, with its default settings: all checks are on."""
    operator.install(running)
    operator.run(running, "--liveness-port", "0", log=running.log("operator"))


def say(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
