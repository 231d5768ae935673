"""``make bench``: measure in labs of its own, print the tables, write bench/results.json."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import click

import pluginrelease_lab
from bench import figures, many, observation, pulls, storm, way_back
from bench.apply_to_served import Bench
from bench.figures import Figure
from bench.put_right import Harm
from pluginrelease.core.errors import ReleaseError
from pluginrelease.edges.toolchain import builder
from pluginrelease_lab import Lab, LabError, operator
from tests import wasm_modules
from tests.harness import registries

HERE = Path(__file__).parent
PLUGIN = HERE.parent / "tests" / "fixtures" / "plugins" / "versioned"
AIMS = {"apply-to-served": 1.25, "bad-update-to-right": 2.0, "bad-first-release-to-right": 2.0, "pull-50mb-cold": 2.0}
AIMS |= {"releases-500-seconds": 1.25, "releases-500-cpu": 2.0, "releases-500-peak": 1.25}
AIMS |= {f"way-back-among-{storm.SIZE}-{what}": 1.0 for what in way_back.BOUNDS}
LOOK_TURNS = 3
WAY_BACK_TURNS = 3

NAMES = ("served", "right", "looks", "pull", "releases", "back-by-command", "back-after-crash")

Part = Callable[[int, int, Path], list[Figure]]


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(NAMES))
@click.option("--turns", default=10, show_default=True, type=click.IntRange(1, 100), help="Counted turns of each way.")
@click.option("--gateways", default=2, show_default=True, type=click.IntRange(1, 20), help="Gateway pods.")
@click.option(
    "--results", default=HERE / "results.json", type=click.Path(path_type=Path), help="Where they are written."
)
def main(parts: tuple[str, ...], turns: int, gateways: int, results: Path) -> None:
    """The parts named, or all.

    From apply to served; from a bad apply to put right; the look at many gateway pods; a pull of 50 MB; many releases;
    the way back of one while 200 others change.
    """
    found: list[Figure] = []
    try:
        for name in parts or PARTS:
            with tempfile.TemporaryDirectory(prefix="pluginrelease-bench-") as folder:
                found += PARTS[name](turns, gateways, Path(folder))
    except (LabError, ReleaseError, TimeoutError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    known = json.loads(results.read_text()) if results.exists() else {}
    results.write_text(json.dumps({**known, **figures.results(found)}, indent=2) + "\n")
    click.echo(f"\n{figures.table(found)}\n")
    for figure in found:
        if aim := AIMS.get(figure.name):
            click.echo(f"the aim for {figure.name} is {aim}: {figure.ratio:.2f}")
    click.echo(f"written to {results}")


def served(turns: int, gateways: int, workplace: Path) -> list[Figure]:
    """Compare from apply to served with a bare kubectl apply."""
    with pluginrelease_lab.up(name="bench", gateways=gateways, report=say) as running:
        bench = prepared(running, workplace)
        found = bench.run(turns)
        check(running)
    click.echo(f"\nthe operator said Ready {bench.median_ready:.1f} s after apply (median)")
    return found


def right(turns: int, gateways: int, workplace: Path) -> list[Figure]:
    """Measure from a bad apply to correct traffic."""
    with pluginrelease_lab.up(name="bench", gateways=gateways, report=say) as running:
        harm = Harm(prepared(running, workplace), say)
        found = harm.run(turns)
        check(running)
    return found


def looks(_turns: int, _gateways: int, workplace: Path) -> list[Figure]:
    """Measure the observation of 10, 100 and 500 gateway pods."""
    with pluginrelease_lab.up(name="bench", gateways=0, report=say) as running:
        found, rows = observation.run(running, workplace, LOOK_TURNS, say)
    click.echo(f"\n{figures.aligned(rows)}")
    return found


def pull(turns: int, _gateways: int, workplace: Path) -> list[Figure]:
    """Measure a cold and a warm pull of 50 MB, and compare them with skopeo."""
    return pulls.run(turns, workplace, say)


def releases(_turns: int, _gateways: int, workplace: Path) -> list[Figure]:
    """Measure 50 to 1,000 releases of one image, and source-controller with as many OCIRepositories; 200 changes."""
    with pluginrelease_lab.up(name="bench", gateways=0, report=say) as running:
        operator.install(running)
        module = workplace / "many.wasm"
        module.write_bytes(wasm_modules.answering("many"))
        ref = registries.push(running, module, "bench/many:1.0")
        found, rows = many.run(running, ref, many.SIZES, say)
        changed = [*storm.run(running, ref, say), *storm.run_shared(running, ref, say)]
        check(running)
    click.echo(f"\n{figures.aligned(rows)}\n\n{figures.aligned(changed)}")
    return found


def back_by_command(turns: int, _gateways: int, workplace: Path) -> list[Figure]:
    """Measure the way back that a user asks for, while 200 other releases change."""
    return go_back(way_back.COMMANDS, turns, workplace)


def back_after_crash(turns: int, _gateways: int, workplace: Path) -> list[Figure]:
    """Measure the way back after a gateway's first crash, while 200 other releases change."""
    return go_back(way_back.CRASHES, turns, workplace)


def go_back(ways: Sequence[str], turns: int, workplace: Path) -> list[Figure]:
    """Measure these ways back on a lab of their own."""
    with pluginrelease_lab.up(name="bench", gateways=0, report=say) as running:
        found = way_back.run(running, ways, min(turns, WAY_BACK_TURNS), workplace, say, storm.SIZE)
        check(running)
    return found


PARTS: dict[str, Part] = dict(
    zip(NAMES, (served, right, looks, pull, releases, back_by_command, back_after_crash), strict=True)
)


def prepared(running: Lab, workplace: Path) -> Bench:
    """Build the plugin, and start the operator with the chart's ServiceAccount and default settings."""
    module = builder.compile_go(PLUGIN, workplace / "versioned.wasm", deadline=600).path.read_bytes()
    operator.install(running)
    operator.run(running, "--liveness-port", "0", log=running.log("operator"))
    return Bench(running, module, workplace, say)


def check(running: Lab) -> None:
    """Raise LabError if the operator lacked a right: then its work was not complete."""
    if refused := operator.forbidden(running):
        raise LabError(f"the operator was refused {refused[0]}: what was measured is not the whole of its work")


def say(line: str) -> None:
    """Print progress to stderr."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
