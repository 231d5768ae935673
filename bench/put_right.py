"""Measure the time from a bad apply to correct traffic, over the time that a gateway needs to load a good plugin.

There are two ways to do harm at once that pass the operator's checks. The first is an update to an image that the
operator can fetch and the gateways cannot: each request then gets Istio's 403. The second is a first release whose
configuration the plugin refuses: each request then gets Envoy's 500. Requests are counted meanwhile. The clock runs
from the start of kubectl to the last wrong answer. The comparison is a bare WasmPlugin with a good plugin of the same
size, as an update or a first one. Its clock runs from the start of kubectl until every gateway answers with it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench import relay
from bench.apply_to_served import HEADER, NAME, NAMESPACE, SELECTOR, Bench, Manifest, Report, plugin_release
from bench.figures import Figure
from pluginrelease_lab import LabError, network
from tests.harness.traffic import Answer, Traffic

DOOR = 5009
"""A second port of the open registry that accepts the operator and no gateway, as with a network policy."""
RATE = 25.0
"""Requests per second to each gateway: enough to time the last wrong answer, and too few to slow anything down."""
PUT_RIGHT_WITHIN = "120s"
QUIET = 2.0


@dataclass
class Harm:
    """The measurements so far in seconds, and the number of wrong answers."""

    bench: Bench
    report: Report
    ours: dict[str, list[float]] = field(default_factory=lambda: {"update": [], "first": []})
    other: dict[str, list[float]] = field(default_factory=lambda: {"update": [], "first": []})
    wrong: list[int] = field(default_factory=list)

    def run(self, turns: int) -> list[Figure]:
        """Measure both ways ``turns`` times beside the bare load in one lab, after one turn that does not count."""
        with second_door(self.bench):
            for turn in range(turns + 1):
                self.turn(counted=turn > 0)
        return [
            Figure("bad-update-to-right", tuple(self.ours["update"]), tuple(self.other["update"])),
            Figure("bad-first-release-to-right", tuple(self.ours["first"]), tuple(self.other["first"])),
        ]

    def turn(self, *, counted: bool) -> None:
        """Run a bad update and a bad first release, and a good one of each by hand."""
        first, update = self.bench.served("other"), self.bench.served("other")
        self.bench.take_away("other")
        bad_update, wrong = self.bad_update()
        bad_first, more = self.bad_first()
        words = (
            f"put right: update {bad_update:5.2f} s (good: {update:5.2f} s)  first {bad_first:5.2f} s "
            f"(good: {first:5.2f} s)  wrong answers {wrong} and {more}"
        )
        self.report(words if counted else f"{words}  (not counted)")
        if counted:
            self.ours["update"].append(bad_update)
            self.ours["first"].append(bad_first)
            self.other["update"].append(update)
            self.other["first"].append(first)
            self.wrong += [wrong, more]

    def bad_update(self) -> tuple[float, int]:
        """Release a good version, then one that no gateway can fetch; return the harm."""
        bench = self.bench
        good, image, _ = bench.new_version()
        bench.apply(plugin_release(image))
        bench.await_answers(good)
        bench.await_ready()
        _, image, _ = bench.new_version()
        bad = plugin_release(image.replace(bench.lab.registry, f"{network.ADDRESS}:{DOOR}"))
        took = self.harm(bad, "RolledBack", lambda answer: (answer.status, answer.plugin) == (200, good))
        bench.take_away("ours")
        return took

    def bad_first(self) -> tuple[float, int]:
        """Release as the first plugin one that refuses its configuration; return the harm."""
        bad = plugin_release(self.bench.new_version()[1])
        bad["spec"]["plugin"]["config"] = {"version": 5}
        took = self.harm(bad, "Removed", lambda answer: (answer.status, answer.plugin) == (200, "-"))
        self.bench.take_away("ours")
        return took

    def await_phase(self, phase: str) -> None:
        """Wait for the phase. Raises LabError with the release's message if it does not come."""
        where = ["pluginrelease", NAME, "-n", NAMESPACE]
        wait = [*where, f"--for=jsonpath={{.status.phase}}={phase}", f"--timeout={PUT_RIGHT_WITHIN}"]
        try:
            self.bench.lab.kubectl("wait", *wait, timeout=150)
        except LabError as error:
            said = self.bench.lab.kubectl("get", *where, "-o", "jsonpath={.status.phase} {.status.conditions}")
            raise LabError(f"the release did not come to {phase}, but: {said}") from error

    def harm(self, bad: Manifest, phase: str, right: Callable[[Answer], bool]) -> tuple[float, int]:
        """Return (seconds from the apply to the last wrong answer, number of wrong answers)."""
        bench = self.bench
        time.sleep(QUIET)
        with Traffic(bench.lab, bench.lab.gateway_pods(SELECTOR), rate=RATE, marker=HEADER) as traffic:
            began = time.monotonic()
            bench.apply(bad)
            self.await_phase(phase)
            time.sleep(QUIET)
            totals = traffic.stop()
        span = totals.span(right)
        if span is None:
            raise TimeoutError("the bad release did no harm: there is nothing to be put right")
        return span[1] - began, sum(row.count for row in totals.odd(right))


@contextmanager
def second_door(bench: Bench) -> Iterator[None]:
    """Open another port of the open registry in the lab's network."""
    host, _, port = bench.lab.registry.partition(":")
    argv: list[Any] = [sys.executable, relay.__file__, network.ADDRESS, str(DOOR), host, port, network.ADDRESS]
    with bench.lab.popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "listening\n":
                raise RuntimeError("the registry's second port does not listen")
            yield
        finally:
            process.kill()
