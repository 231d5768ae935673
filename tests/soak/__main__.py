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
from tests.soak import kills, load

PARTS = ("load", "kills")


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Of four changes under load.")
@click.option("--random", "moments", default=50, show_default=True, help="Kills at random moments.")
@click.option("--seed", default=None, type=int, help="Of the random moments; printed when it is not given.")
@click.option("--at", "only", multiple=True, help="Only this kill, as STAGE:before:4 or STAGE:after:4 of its writes.")
def main(parts: tuple[str, ...], rounds: int, moments: int, seed: int | None, only: tuple[str, ...]) -> None:
    """The parts named, or all of them."""
    chosen = parts or PARTS
    good = True
    if "load" in chosen:
        good &= under_load(rounds)
    if "kills" in chosen:
        chance = secrets.randbelow(10**6) if seed is None else seed
        good &= killed(kills.Plan(moments, chance, tuple(one_kill(text) for text in only)))
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


def killed(plan: kills.Plan) -> bool:
    """The operator killed on both sides of each write, and at random moments."""
    with scratch() as folder, labs.up("soak-kills", gateways=1, report=say) as lab:
        outcome = kills.run(lab, installed(lab), Path(folder), plan, say)
    print("\n".join(outcome.lines()), flush=True)
    return outcome.wrong == 0


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
