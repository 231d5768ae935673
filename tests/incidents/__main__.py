"""``make incidents``: every incident of the book on one lab, each with bare Istio and with a release. Prints a table.

The exit status is 0 only when all are right. What did not run counts as wrong.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

import click

import pluginrelease_lab as labs
from pluginrelease_lab import Lab, operator
from tests.harness.cluster import Operator
from tests.incidents import book
from tests.incidents.book import Half, Incident, IncidentRow, Mode
from tests.incidents.pace import Pace
from tests.incidents.run import SECONDS, IncidentRun

RESYNC = "20s"
FIRST_PORT = 5100
PATIENCE = 120.0
"""Seconds beyond its deadline after which a run is given up."""
HEADINGS = ("incident", "bare Istio shows", "the release says", "lost bare", "lost with release", "")


@dataclass(frozen=True)
class Play:
    """An incident and its two runs."""

    name: str
    incident: Incident
    runs: dict[Mode, IncidentRun]


@click.command()
@click.argument("names", nargs=-1)
def main(names: Sequence[str]) -> None:
    """The incidents named, or the whole book."""
    known = book.names()
    chosen = list(names) or known
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise click.ClickException(f"no such incident: {', '.join(unknown)}; the book has {', '.join(known)}")
    began = time.monotonic()
    rows = {name: book.unrun(name, "did not run") for name in chosen}
    try:
        with tempfile.TemporaryDirectory(prefix="pluginrelease-incidents-") as folder:
            play_all(chosen, Path(folder), rows)
    except (Exception, KeyboardInterrupt):
        traceback.print_exc()
    right = sum(not row.wrong for row in rows.values())
    print(book.table([HEADINGS, *(row.cells() for row in rows.values())]))
    print(f"{time.monotonic() - began:.0f} s")
    print(f"incidents: {right} of {len(rows)} right", flush=True)
    sys.exit(right != len(rows))


def play_all(chosen: Sequence[str], folder: Path, rows: dict[str, IncidentRow]) -> None:
    """Plays them one after the other; the gateways of the next one start meanwhile."""
    with labs.up("incidents", gateways=0, report=say) as lab:
        operator.install(lab)
        running = Operator(lab, lab.log("operator"), ("--resync", RESYNC))
        upcoming = (prepared(lab, running, folder, rows, name, number) for number, name in enumerate(chosen))
        for play, _ in pairwise(chain(upcoming, [None])):
            if play is not None:
                keep_running(running)
                rows[play.name] = played(play)
                say("  ".join(rows[play.name].cells()))
        running.stop()


def keep_running(operator_process: Operator) -> None:
    """An incident may have ended the operator, or have started it in its own thread, with which it then ended."""
    if operator_process.process is None or operator_process.process.poll() is not None:
        operator_process.process = None
        operator_process.start()


def prepared(
    lab: Lab, running: Operator, folder: Path, rows: dict[str, IncidentRow], name: str, number: int
) -> Play | None:
    """The incident's runs with their gateways asked for; None when its file is broken."""
    try:
        incident, pace = book.open_at(name), Pace()
        runs = {
            mode: IncidentRun(lab, running, folder, name, incident, mode, FIRST_PORT + 2 * number + place, pace)
            for place, mode in enumerate(Mode)
        }
        for run in runs.values():
            run.prepare()
    except Exception as error:
        rows[name] = book.unrun(name, f"{type(error).__name__}: {error}")
        return None
    return Play(name, incident, runs)


def played(play: Play) -> IncidentRow:
    """Both runs at the same time, on gateways of their own, and what came of them."""
    futures = {mode: in_thread(run) for mode, run in play.runs.items()}
    try:
        halves = {mode: future.result(SECONDS + PATIENCE) for mode, future in futures.items()}
    except TimeoutError:
        return book.unrun(play.name, "did not come to its end in time")
    finally:
        for run in play.runs.values():
            run.clean_up()
    for half in halves.values():
        if half.trouble:
            say(half.trouble)
    return book.judge(play.name, play.incident, halves[Mode.BARE], halves[Mode.RELEASE])


def in_thread(run: IncidentRun) -> Future[Half]:
    """One run in a thread of its own, which is left behind when it hangs."""
    future: Future[Half] = Future()

    def work() -> None:
        try:
            future.set_result(run.execute())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future


def say(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
