"""Changes between good versions of an AUTHN plugin under load: no request is lost, and none gets by the plugin.

Two streams go to each gateway: requests that the plugin is to let through, and requests that it is to refuse. The
first load is before the count begins: on the way from a gateway without the plugin to one with it, requests are lost
with bare Istio too.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.figures import aligned
from pluginrelease import api
from pluginrelease_lab import Lab
from tests.harness.cluster import GATEWAY_NAMESPACE, JSON, LabCluster, Operator, is_ready, observed, ready
from tests.harness.traffic import Answer, Totals, Traffic
from tests.soak import modules

NAME = "guard"
RATE = 320.0
"""Requests a second through each gateway, both streams together: at least 300 must come of it."""
ALLOWED_SHARE = 2 / 3
QUIET = 3.0
"""Seconds of counting before the first change and after each."""
SERVED_BY_ALL = 30.0
VERSIONS = ("v1", "v2")

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Stream:
    """Requests of one kind and the one answer to them that is right, but for the version."""

    name: str
    headers: dict[str, str]
    share: float
    status: int
    sort: str

    def is_right(self, answer: Answer) -> bool:
        """The plugin's own answer, of whichever version."""
        return (answer.status, answer.sort) == (self.status, self.sort) and answer.plugin in VERSIONS


STREAMS = (
    Stream("allowed", {"allow": "true"}, ALLOWED_SHARE, 200, "served"),
    Stream("refused", {}, 1 - ALLOWED_SHARE, 403, "refused"),
)


@dataclass(frozen=True)
class LoadTurn:
    """What was answered from just before one change until it was served everywhere and some seconds more."""

    change: str
    stream: Stream
    counts: Counter[Answer]
    served_after: float
    """Seconds from the change until the last gateway had answered with the new version."""

    @property
    def wrong(self) -> Counter[Answer]:
        """Answers that the plugin did not give, and requests without an answer."""
        return Counter({answer: count for answer, count in self.counts.items() if not self.stream.is_right(answer)})

    def row(self) -> list[str]:
        """For the table."""
        by_version = [sum(n for a, n in self.counts.items() if a.plugin == version) for version in VERSIONS]
        failed = sum(n for a, n in self.wrong.items() if a.sort == "failed")
        foreign = sum(n for a, n in self.wrong.items() if a.status == 403)
        open_ = sum(n for a, n in self.wrong.items() if a.sort == "served")
        lost = sum(n for a, n in self.wrong.items() if a.status == 0)
        numbers = [self.counts.total(), *by_version, failed, foreign, open_, lost, self.wrong.total()]
        return [self.change, self.stream.name, *map(str, numbers), f"{self.served_after:.1f} s"]


HEADER = (
    "change",
    "stream",
    "requests",
    "v1",
    "v2",
    "5xx",
    "other 403",
    "unprotected",
    "lost",
    "wrong",
    "served after",
)


@dataclass
class LoadOutcome:
    """All turns, and the rate as it was achieved by gateway, both streams together."""

    turns: list[LoadTurn]
    rates: dict[str, float]
    skipped: int

    @property
    def wrong(self) -> int:
        """How many answers were wrong."""
        return sum(turn.wrong.total() for turn in self.turns)

    def lines(self) -> Iterator[str]:
        """For people."""
        yield aligned([HEADER, *(turn.row() for turn in self.turns)])
        for turn in self.turns:
            for answer, count in turn.wrong.items():
                yield f"wrong: {turn.change}, {turn.stream.name}: {count} x {answer}"
        rates = ", ".join(f"{rate:.0f}" for rate in self.rates.values())
        yield f"requests a second through each gateway: {rates}; not sent in time: {self.skipped}"
        total = sum(turn.counts.total() for turn in self.turns)
        yield f"load: {total - self.wrong} of {total} answered by the plugin"


class Loaded:
    """A cluster with the plugin on its gateways, and the changes that a user can make."""

    def __init__(self, cluster: LabCluster, folder: Path) -> None:
        self.cluster = cluster
        self.refs = {
            version: cluster.push(modules.guarding(version), folder, version)  # two repositories: the references differ
            for version in VERSIONS
        }
        self.revisions: dict[str, str] = {}

    def apply(self, version: str) -> None:
        """By the spec; returns when it is Ready."""
        self.cluster.apply(self.cluster.manifest(NAME, self.refs[version]))
        found = self.cluster.await_ready(NAME)
        self.revisions[version] = found["status"]["stableRevision"]

    def roll_back(self, version: str) -> None:
        """By the annotation; returns when the old revision runs everywhere."""
        wanted = self.revisions[version]
        token = f"{api.ROLLBACK_ANNOTATION}={wanted}:{time.monotonic_ns()}"
        self.cluster.lab.kubectl("annotate", "prel", NAME, "-n", GATEWAY_NAMESPACE, token, "--overwrite")
        self.cluster.await_release(NAME, lambda it: runs(it, wanted))


def runs(release: JSON, revision: str) -> bool:
    """Whether this revision was seen running everywhere, and the release says so."""
    status = release.get("status", {})
    return is_ready(release) and observed(release) and status["stableRevision"] == revision and bool(ready(release))


def run(lab: Lab, operator: Operator, folder: Path, rounds: int, say: Say) -> LoadOutcome:
    """The changes under load, ``rounds`` times; the gateways are left without the plugin."""
    cluster = LabCluster(lab, operator)
    try:
        loaded = Loaded(cluster, folder)
        loaded.apply("v1")
        changes: list[tuple[str, str, Callable[[str], None]]] = [
            ("update v1 → v2, by the spec", "v2", loaded.apply),
            ("rollback v2 → v1, by the spec", "v1", loaded.apply),
            ("update v1 → v2, by the spec", "v2", loaded.apply),
            ("rollback v2 → v1, by the annotation", "v1", loaded.roll_back),
        ] * rounds
        return under_load(cluster, changes, say)
    finally:
        cluster.clean_up()


def under_load(
    cluster: LabCluster, changes: Sequence[tuple[str, str, Callable[[str], None]]], say: Say, rate: float = RATE
) -> LoadOutcome:
    """Each change while both streams run; counted without a gap from one to the next."""
    pods = cluster.gateways()
    with ExitStack() as stack:
        streams = {
            stream: stack.enter_context(Traffic(cluster.lab, pods, rate=rate * stream.share, headers=stream.headers))
            for stream in STREAMS
        }
        turns: list[LoadTurn] = []
        before = {stream: Totals([], 0, {}, {}) for stream in STREAMS}
        for words, version, change in changes:
            time.sleep(QUIET)
            began = time.monotonic()
            change(version)
            served = await_version(list(streams.values()), version) - began
            time.sleep(QUIET)
            after = {stream: traffic.look() for stream, traffic in streams.items()}
            turns += [LoadTurn(words, stream, after[stream].since(before[stream]), served) for stream in STREAMS]
            before = after
            say(f"{words}: served after {served:.1f} s, wrong so far {sum(turn.wrong.total() for turn in turns)}")
        ends = [traffic.stop() for traffic in streams.values()]
        last = [end.since(before[stream]) for stream, end in zip(STREAMS, ends, strict=True)]
        turns += [
            LoadTurn("the end", stream, counts, 0.0) for stream, counts in zip(STREAMS, last, strict=True) if counts
        ]
    rates = {pod.name: sum(end.rate()[pod.name] for end in ends) for pod in pods}
    return LoadOutcome(turns, rates, sum(sum(end.skipped.values()) for end in ends))


def await_version(streams: Collection[Traffic], version: str) -> float:
    """When the last answer of another version came, once every gateway answers both streams with this one alone."""
    deadline = time.monotonic() + SERVED_BY_ALL
    while True:
        looks = [traffic.look() for traffic in streams]
        rows = [row for look in looks for row in look.rows if row.plugin in VERSIONS]
        others = max((row.last for row in rows if row.plugin != version), default=0.0)
        new = [row for row in rows if row.plugin == version and row.last > others]
        if len(new) == sum(len(look.sent) for look in looks):
            return others
        assert time.monotonic() < deadline, f"{version} is not served everywhere: {rows}"
        time.sleep(0.1)
