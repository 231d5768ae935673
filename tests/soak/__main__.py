"""``make soak``: load and kills on a lab of its own, longer than a test may take. Prints figures.

Each part fails the run when a single request, or a single end, is not as it should be.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
from pathlib import Path

import click

import pluginrelease_lab as labs
from pluginrelease_lab import Lab, operator
from tests.harness.cluster import Operator
from tests.soak import alarm_page, false_alarms, kills, load

PARTS = ("load", "kills")
FALSE_ALARMS = "false-alarms"


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice((*PARTS, FALSE_ALARMS)))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Of four changes under load.")
@click.option("--random", "moments", default=15, show_default=True, help="Kills at random moments.")
@click.option("--seed", default=None, type=int, help="Of the random moments; printed when it is not given.")
@click.option(
    "--objects", is_flag=True, help="Kill at writes to objects only, and not at those of Lease and log levels."
)
@click.option("--changes", default=200, show_default=True, type=click.IntRange(1), help="Good ones, disturbed.")
@click.option("--start", default=0, show_default=True, help="The number of the first of them; what is known stays.")
@click.option("--at", "only", multiple=True, help="Only this kill, as STAGE:before:4 or STAGE:after:4 of its writes.")
def main(
    parts: tuple[str, ...],
    rounds: int,
    moments: int,
    seed: int | None,
    objects: bool,
    changes: int,
    start: int,
    only: tuple[str, ...],
) -> None:
    """The parts named; without a name load and kills."""
    chosen = parts or PARTS
    good = True
    if "load" in chosen:
        good &= under_load(rounds)
    if "kills" in chosen:
        chance = secrets.randbelow(10**6) if seed is None else seed
        writes = kills.OBJECTS if objects else kills.NOT_EVENTS
        good &= killed(kills.KillPlan(moments, chance, tuple(one_kill(text) for text in only), writes))
    if FALSE_ALARMS in chosen:
        good &= disturbed(alarm_page.SEED if seed is None else seed, range(start, start + changes))
    sys.exit(not good)


def one_kill(text: str) -> tuple[str, kills.Kill]:
    """The stage and the kill that ``--at`` names."""
    stage, when, number = text.split(":")
    return stage, kills.Kill(int(number), when)


def under_load(rounds: int) -> bool:
    """Changes between good versions while requests are counted."""
    with scratch() as folder, labs.up("soak-load", gateways=2, report=say) as lab:
        running = installed(lab)
        running.start()
        outcome = load.run(lab, running, Path(folder), rounds, say)
        running.stop()
        refused = operator.forbidden(lab)
    print("\n".join(outcome.lines()), flush=True)
    if refused:
        print(f"the operator was refused {refused[0]}")
    return outcome.wrong == 0 and not refused


def killed(plan: kills.KillPlan) -> bool:
    """The operator killed on both sides of each write, and at random moments."""
    with scratch() as folder, labs.up("soak-kills", gateways=1, report=say) as lab:
        outcome = kills.run(lab, installed(lab), Path(folder), plan, say)
    print("\n".join(outcome.lines()), flush=True)
    return outcome.wrong == 0


def disturbed(seed: int, numbers: range) -> bool:
    """Good changes while their gateways are disturbed; docs/false-alarms.md is written from all that is recorded."""
    with scratch() as folder, labs.up("soak-alarms", gateways=0, report=say) as lab:
        running = installed(lab)
        running.start()
        changes = [false_alarms.draw(seed, number) for number in numbers]
        rows = false_alarms.run(lab, running, Path(folder), changes, say, alarm_page.Recorder(seed).keep)
        running.stop()
    print("\n".join(alarm_page.table(rows)), flush=True)
    for line in false_alarms.wrong(rows):
        print(f"wrong: {line}", flush=True)
    return not any(row.is_wrong for row in rows)


def scratch() -> tempfile.TemporaryDirectory[str]:
    """For modules and kubeconfigs; gone at the end."""
    return tempfile.TemporaryDirectory(prefix="pluginrelease-soak-")


def installed(lab: Lab) -> Operator:
    """The chart is applied; the operator does not run yet."""
    operator.install(lab)
    return Operator(lab, lab.log("operator"))


def say(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
