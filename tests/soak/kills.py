"""The operator killed at every write, before and after it, and at random moments: the end is always the same.

A run is the life of a release of three entries in three namespaces, in five stages: a first release, an update, an
update that fails and is put back on all three, the removal of an entry, and the deletion. In each stage of a run the
operator is killed once, another is started, and what is then in the cluster and in the gateways must be what it is
without any kill.
"""

from __future__ import annotations

import difflib
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from bench.figures import aligned
from pluginrelease_lab import Lab
from tests.harness import interruption
from tests.harness.cluster import JSON, LabCluster, Operator, is_ready, observed, ready
from tests.harness.interrupter import InterruptOrder
from tests.harness.interruption import InterruptingRelay
from tests.soak import testbeds
from tests.soak.testbeds import LEFT, NAME, NAMESPACE, Testbed

SETTLE = 90.0
"""Seconds to the end of a stage, with or without a kill."""
STILL = 6.0
"""Seconds without a change after which a run without kills has come to its end."""
STAYS = 1.0
PAUSE = 0.2
NOT_EVENTS = r"^(?!.*/events).*$"
OBJECTS = r"^(?!.*/(events|leases|selfsubject\w+|pods/)).*$"
"""Writes to objects that stay: no Event, no renewal of the Lease, no way to a gateway."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class LifeStage:
    """One change by a user, and what ends it. ``is_optional``: a life in which nothing is killed there goes without."""

    name: str
    change: Callable[[Testbed], None]
    ended: Callable[[Testbed], bool]
    is_optional: bool = False


@dataclass(frozen=True)
class Kill:
    """Where: at a write on one side of it, or some seconds after the change."""

    number: int = 0
    when: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.when} write {self.number}" if self.number else f"after {self.seconds:.2f} s"


@dataclass(frozen=True)
class KillPlan:
    """Both sides of every write, then ``moments`` kills at moments that ``seed`` decides; or ``only`` these.

    ``writes`` are the paths of the requests that count as writes.
    """

    moments: int
    seed: int
    only: tuple[tuple[str, Kill], ...] = ()
    writes: str = NOT_EVENTS


@dataclass(frozen=True)
class KillRun:
    """One kill in one stage: whether it came to it, and how the end differed from the one without a kill."""

    stage: str
    kill: Kill
    killed: bool
    difference: str


@dataclass
class KillReport:
    """What a whole series of runs has shown."""

    seed: int
    writes: dict[str, list[str]]
    runs: list[KillRun] = field(default_factory=list)

    @property
    def counted(self) -> list[KillRun]:
        """Those in which the operator was killed."""
        return [run for run in self.runs if run.killed]

    @property
    def wrong(self) -> int:
        """How many ended otherwise."""
        return sum(bool(run.difference) for run in self.runs)

    def lines(self) -> Iterator[str]:
        """For people."""
        for stage, writes in self.writes.items():
            yield f"writes of {stage}: {', '.join(writes)}"
        yield aligned([("stage", "killed", "kills", "ended the same"), *self.rows()])
        for run in self.runs:
            if run.difference:
                yield f"{run.stage}, killed {run.kill}{'' if run.killed else ' (not reached)'}:\n{run.difference}"
        yield f"seed: {self.seed}"
        yield f"kills: {sum(not run.difference for run in self.counted)} of {len(self.counted)} ended the same"

    def rows(self) -> Iterator[list[str]]:
        """By stage and kind of kill."""
        for stage in self.writes:
            for words in ("before", "after", ""):
                runs = [run for run in self.counted if run.stage == stage and run.kill.when == words]
                if runs:
                    kind = f"{words} a write" if words else "at a random moment"
                    yield [stage, kind, str(len(runs)), str(sum(not run.difference for run in runs))]


STAGES = (
    LifeStage("release", lambda testbed: testbed.apply("v1"), lambda testbed: is_ready(testbed.release())),
    LifeStage("update", lambda testbed: testbed.apply("v2"), lambda testbed: is_ready(testbed.release())),
    LifeStage("rollback", lambda testbed: testbed.apply("bad"), lambda testbed: rolled_back(testbed.release())),
    LifeStage(
        "removal",
        lambda testbed: testbed.apply("bad", LEFT),
        lambda testbed: has_left(testbed.release(), LEFT),
        is_optional=True,
    ),
    LifeStage("deletion", lambda testbed: testbed.delete(), lambda testbed: not testbed.release()),
)


def rolled_back(release: JSON) -> bool:
    """The bad revision has failed, and the stable one is seen running again in every entry."""
    return observed(release) and ready(release)["status"] == "False" and release["status"]["phase"] == "RolledBack"


def has_left(release: JSON, entries: Sequence[str]) -> bool:
    """Whether the status has no other entries than these, about the newest spec."""
    return observed(release) and [row["name"] for row in release["status"]["gateways"]] == list(entries)


# ------------------------------------------------------------------------------------------------------------ the runs


def run(lab: Lab, operator: Operator, folder: Path, plan: KillPlan, say: Say) -> KillReport:
    """Runs without kills, then those of the plan."""
    with interruption.relay(lab, folder) as relay:
        operator.arguments = ("--kubeconfig", str(relay.kubeconfig))
        series = Series(testbeds.prepare(LabCluster(lab, operator), relay, folder), say, plan.writes)
        outcome = series.without_kills(plan.seed)
        for stage, kill in plan.only:
            series.life(outcome, {stage: kill})
        if not plan.only:
            series.at_writes(outcome)
            series.at_moments(outcome, plan.moments)
        operator.stop()
    return outcome


@dataclass
class Series:
    """Many runs on one testbed, all compared with the first."""

    testbed: Testbed
    say: Say
    writes: str = NOT_EVENTS
    ends: dict[str, str] = field(default_factory=dict)
    glimpses: dict[str, str] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)

    def without_kills(self, seed: int) -> KillReport:
        """The ends to compare with, from one run; a second one must come to the same, or nothing can be compared."""
        outcome = KillReport(seed, {})
        for stage in STAGES:
            outcome.writes[stage.name] = self.uninterrupted(stage)
        for stage in STAGES:
            self.uninterrupted(stage)
        return outcome

    def uninterrupted(self, stage: LifeStage) -> list[str]:
        """One stage to its end, by an operator that has just started; the writes that it made."""
        testbed, operator = self.testbed, self.testbed.cluster.operator
        pid = start(operator)
        testbed.relay.take(InterruptOrder(pid, path=self.writes, number=0))
        began = time.monotonic()
        stage.change(testbed)
        self.await_(lambda: stage.ended(testbed), f"{stage.name} does not end")
        self.took[stage.name] = time.monotonic() - began
        end = self.still()
        self.glimpses[stage.name] = self.testbed.glimpse()
        writes = [line.removeprefix("passed ") for line in heard(testbed.relay)]
        operator.kill()
        if difference := differences(self.ends.setdefault(stage.name, end), end):
            raise AssertionError(
                f"two runs of {stage.name} without kills differ, and nothing can be compared:\n{difference}"
            )
        self.say(f"{stage.name}: {self.took[stage.name]:.1f} s, {len(writes)} writes")
        return writes

    def still(self) -> str:
        """The snapshot, once it has not changed for some time."""
        seen, since = self.testbed.glimpse(), time.monotonic()
        while time.monotonic() < since + STILL:
            time.sleep(PAUSE)
            now = self.testbed.glimpse()
            if now != seen:
                seen, since = now, time.monotonic()
        return self.testbed.snapshot()

    def at_writes(self, outcome: KillReport) -> None:
        """On both sides of the first write, of the second, and so on, until no stage has so many."""
        number, reached = 0, {stage.name for stage in STAGES}
        while reached:
            number += 1
            over = set(reached)
            for when in ("before", "after"):
                runs = self.life(outcome, {stage: Kill(number, when) for stage in reached})
                over &= {run.stage for run in runs if not run.killed}
            reached -= over

    def at_moments(self, outcome: KillReport, moments: int) -> None:
        """In each stage somewhen between the change and its end, as long as it takes without a kill."""
        chance = random.Random(outcome.seed)
        while (left := moments - sum(not run.kill.when for run in outcome.counted)) > 0:
            chosen = STAGES if left >= len(STAGES) else STAGES[:left]
            kills = {stage.name: Kill(seconds=chance.uniform(0, self.took[stage.name])) for stage in chosen}
            self.life(outcome, kills)

    def life(self, outcome: KillReport, kills: dict[str, Kill]) -> list[KillRun]:
        """One release through all stages, with a kill in each that has one; ends early when one ends otherwise."""
        runs: list[KillRun] = []
        for stage in STAGES:
            if stage.is_optional and stage.name not in kills:
                continue
            run = self.interrupted(stage, kills.get(stage.name))
            if run is not None:
                runs.append(run)
                self.say(f"{stage.name}, killed {run.kill}: {told(run)}")
            if run is not None and run.difference:
                self.say(run.difference)
                self.clear()
                break
        outcome.runs += runs
        return runs

    def interrupted(self, stage: LifeStage, kill: Kill | None) -> KillRun | None:
        """One stage with a kill, another operator after it, and the end that it comes to."""
        testbed, operator = self.testbed, self.testbed.cluster.operator
        pid = self.await_operator()
        number = kill.number if kill else 0
        testbed.relay.take(
            InterruptOrder(pid, path=self.writes, number=number, when=kill.when if kill and number else "after")
        )
        stage.change(testbed)
        killed = self.await_death(operator, kill, stage) if kill else False
        if killed:
            start(operator)
        difference = self.difference(stage.name)
        return KillRun(stage.name, kill, killed, difference) if kill else None

    def await_operator(self) -> int:
        """The process id of an operator that runs, and that no order of the stage before will end any more."""
        operator = self.testbed.cluster.operator
        if operator.process is not None:
            self.testbed.relay.take(InterruptOrder(operator.process.pid, path=self.writes, number=0))
        is_running = operator.process is not None and operator.process.poll() is None
        return operator.process.pid if is_running and operator.process is not None else start(operator)

    def await_death(self, operator: Operator, kill: Kill, stage: LifeStage) -> bool:
        """Whether the operator died by the kill before the stage came to its end."""
        assert operator.process is not None
        if not kill.number:
            time.sleep(kill.seconds)
            operator.kill()
            return True
        deadline = time.monotonic() + SETTLE
        while operator.process.poll() is None:
            time.sleep(PAUSE)
            heard(self.testbed.relay)
            if time.monotonic() > deadline or (self.testbed.glimpse() == self.glimpses[stage.name]):
                return False
        assert operator.process.returncode == -signal.SIGKILL, operator.log.read_text()[-3000:]
        operator.process = None
        return True

    def difference(self, stage: str) -> str:
        """Nothing once all is as wanted, and what the operator writes stays so; else how it differs at the deadline."""
        deadline, wanted = time.monotonic() + SETTLE, self.ends[stage]
        while time.monotonic() < deadline:
            if self.testbed.glimpse() == self.glimpses[stage]:
                time.sleep(STAYS)
                if self.testbed.snapshot() == wanted:
                    return ""
            time.sleep(PAUSE)
        return differences(wanted, self.testbed.snapshot())

    def clear(self) -> None:
        """After a run that ended otherwise: the next one begins without its release."""
        self.testbed.lab.kubectl(
            "delete", "prel", NAME, "-n", NAMESPACE, "--ignore-not-found", "--timeout=60s", timeout=90
        )
        self.testbed.reset_levels()

    def await_(self, done: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + SETTLE
        while not done():
            time.sleep(PAUSE)
            assert time.monotonic() < deadline, f"{otherwise}:\n{yaml.safe_dump(self.testbed.release().get('status'))}"


def start(operator: Operator) -> int:
    """The process id of a new operator."""
    operator.process = None
    operator.start()
    assert operator.process is not None
    return int(operator.process.pid)


def heard(relay: InterruptingRelay) -> Sequence[str]:
    """What the relay has said since its last order."""
    while relay.hear(0):
        pass
    return relay.said


def told(run: KillRun) -> str:
    """In a word."""
    if run.difference:
        return "ENDED OTHERWISE"
    return "ended the same" if run.killed else "it was over before"


def differences(wanted: str, found: str) -> str:
    """What is other, line by line; "" for nothing."""
    lines = difflib.unified_diff(wanted.splitlines(), found.splitlines(), "without a kill", "with it", n=3, lineterm="")
    return "\n".join(lines)
