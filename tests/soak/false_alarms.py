"""Good releases and updates while their gateways are disturbed at random moments: what is put back all the same?

Every plugin here is good, so each one that is put back is an alarm that was false. Some are those that docs/signs.md
accepts, as nobody can tell whose fault a fault was; every other one is a fault of the operator. Which change and which
disturbance a number has depends on the seed alone.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pluginrelease import api
from pluginrelease_lab import Lab
from tests import wasm_modules
from tests.harness import gateways
from tests.harness.cluster import JSON, LabCluster, Operator, is_ready, observed, plugin, ready
from tests.soak import disturbances
from tests.soak.disturbances import REPLICAS, Disturbance, Moment, Scene

STANDS = 4
"""Gateways of so many namespaces are disturbed at the same time, each with a release of its own."""
LEAD = 1.5
"""Seconds before a change from which on it may be disturbed."""
DELAYS = {Moment.BEFORE: (-LEAD, 0.5), Moment.LOADING: (0.0, 1.5), Moment.WATCHED: (0.0, 5.0)}
"""Seconds from the change, from the write, from Ready."""
GAP = (0.5, 3.0)
FIRST_SHARE = 0.2
"""Of first releases; the others are updates, by turns of the image and of the configuration."""
QUIET = 3.0
"""Seconds for which nothing more may come."""
SETTLES = 90.0
LOADS: JSON = {"load": {"timeout": "30s"}}
PAUSE = 0.1
WATCHES = 3600.0
VERSIONS = ("v1", "v2")

Say = Callable[[str], None]
Keep = Callable[["AlarmRow"], None]


@dataclass(frozen=True)
class GoodChange:
    """One change to a good revision, and what happens meanwhile: to which pod, and how long after what is seen.

    ``after``: BEFORE is the change itself, LOADING the write, WATCHED Ready.
    """

    number: int
    is_first: bool
    version: str
    what: Disturbance
    after: Moment
    delay: float
    victim: int
    gap: float

    def __str__(self) -> str:
        change = "first release" if self.is_first else "update"
        return f"{self.number}: {change}, {self.what}"


def draw(seed: int, number: int) -> GoodChange:
    """Return the change of this number, which depends on nothing else."""
    chance = random.Random(f"{seed}/{number}")
    after = chance.choice(list(DELAYS))
    return GoodChange(
        number,
        chance.random() < FIRST_SHARE,
        chance.choice(VERSIONS),
        chance.choice(list(Disturbance)),
        after,
        chance.uniform(*DELAYS[after]),
        chance.randrange(REPLICAS),
        chance.uniform(*GAP),
    )


@dataclass(frozen=True)
class AlarmRow:
    """What came of one change. ``put_back``: the reason for which it was, "" where it was not; ``unproven``: it
    runs, and some gateway has not shown that; ``trouble``: how it ended, where that was none of these."""

    number: int
    is_first: bool
    what: Disturbance
    when: Moment
    put_back: str = ""
    unproven: bool = False
    trouble: str = ""

    @property
    def is_blamed(self) -> bool:
        """Whether docs/signs.md takes what happened for the revision's doing."""
        return disturbances.is_blamed(self.what, self.when)

    @property
    def is_wrong(self) -> bool:
        """Whether it was put back although nothing says so, or came to no end."""
        return bool(self.trouble) or (bool(self.put_back) and not self.is_blamed)


@dataclass(frozen=True)
class Applied:
    """One spec of one release."""

    uid: str
    generation: int

    @classmethod
    def to(cls, found: JSON) -> Applied:
        """The spec that an object has."""
        return cls(found["metadata"]["uid"], found["metadata"]["generation"])


@dataclass
class Sightings:
    """Every state of a release and of its WasmPlugin in one namespace, and when it was seen."""

    lab: Lab
    namespace: str
    releases: list[tuple[float, JSON]] = field(default_factory=list)
    plugins: list[tuple[float, JSON]] = field(default_factory=list)

    def watch(self) -> None:
        """In the background, for as long as the process runs."""
        for kind, found in ((api.PLURAL, self.releases), ("wasmplugins", self.plugins)):
            threading.Thread(target=self._take_in, args=(kind, found), daemon=True).start()

    def _take_in(self, kind: str, found: list[tuple[float, JSON]]) -> None:
        states = self.lab.watch(kind, "-n", self.namespace, seconds=WATCHES)
        found.extend((time.monotonic(), seen) for seen in states)

    def written(self, since: float) -> float | None:
        """When another revision than before was first seen written."""
        before = next((revision_of(found) for at, found in reversed(self.plugins) if at < since), None)
        return next((at for at, found in self.plugins if at >= since and revision_of(found) != before), None)

    def ready(self, of: Applied) -> float | None:
        """When the release was first seen Ready with this spec."""
        return next((at for at, found in self.releases if Applied.to(found) == of and is_ready(found)), None)

    def failed(self, of: Applied) -> str:
        """The reason for which what this spec wants was put back or taken off; "" for none."""
        states = (found["status"] for _, found in self.releases if Applied.to(found) == of and observed(found))
        return next((str(failure["reason"]) for state in states if (failure := failure_of(state))), "")

    def latest(self) -> JSON:
        """The release as it was seen last."""
        return self.releases[-1][1] if self.releases else {}


def revision_of(found: JSON) -> tuple[str, str]:
    """Which object it is, and of which revision."""
    about = found["metadata"]
    return about["uid"], about.get("annotations", {}).get(api.REVISION_ANNOTATION, "")


def is_unproven(found: JSON) -> bool:
    """Whether nothing is wrong with what runs, and some gateway has not shown for too long that it runs it."""
    about = ready(found)
    return observed(found) and (about["status"], about["reason"]) == ("Unknown", "NoPositiveSign")


def failure_of(status: JSON) -> Any:
    """What is noted of the failure of the rollout that is under way, or was."""
    return status.get("rollout", {}).get("failure")


@dataclass
class Stand:
    """Two gateways with one release, to which changes come one after the other."""

    cluster: LabCluster
    namespace: str
    refs: dict[str, str]
    sightings: Sightings
    applied: tuple[float, Applied] | None = None
    """When the last change was made, and its spec."""

    @property
    def scene(self) -> Scene:
        return Scene(self.cluster.lab, self.namespace)

    def play(self, change: GoodChange) -> AlarmRow:
        """The change and what happens meanwhile, until the gateways and the release have come to rest."""
        self.calm_down()
        if change.is_first:
            self.cluster.delete(api.KIND, self.namespace, self.namespace)
        begins, self.applied = time.monotonic() + LEAD, None
        with ThreadPoolExecutor(1) as beside:
            hit = beside.submit(self.disturb, change, begins)
            time.sleep(max(0.0, begins - time.monotonic()))
            changed, spec = self.applied = time.monotonic(), self.apply(change)
            happened = hit.result()
        trouble = self.await_rest(spec)
        found = self.sightings
        when = disturbances.find_moment(happened, found.written(changed), found.ready(spec))
        failed, unproven = found.failed(spec), is_unproven(found.latest())
        return AlarmRow(change.number, change.is_first, change.what, when, failed, unproven, trouble)

    def disturb(self, change: GoodChange, begins: float) -> list[float]:
        """Return when it happened; ``begins``: when the change is made."""
        if change.after is Moment.BEFORE:
            time.sleep(max(0.0, begins + change.delay - time.monotonic()))
        else:
            self.until(lambda: self.has_come(change.after))
            time.sleep(change.delay)
        return disturbances.disturb(self.scene, change.what, change.victim, change.gap)

    def has_come(self, moment: Moment) -> bool:
        """Whether the last change was written, or is Ready."""
        if self.applied is None:
            return False
        changed, spec = self.applied
        found = self.sightings.written(changed) if moment is Moment.LOADING else self.sightings.ready(spec)
        return found is not None

    def apply(self, change: GoodChange) -> Applied:
        """A revision that there never was before."""
        gateway = {"provider": "Istio", "namespace": self.namespace, "selector": {"matchLabels": self.labels}}
        wanted = {"plugin": plugin(config={"number": change.number}), "checks": LOADS}
        name, ref = self.namespace, self.refs[change.version]
        manifest = self.cluster.manifest(name, ref, namespace=name, gateway=gateway, **wanted)
        return Applied.to(self.cluster.apply(manifest))

    @property
    def labels(self) -> dict[str, str]:
        return {"istio": self.namespace}

    def calm_down(self) -> None:
        """As many gateways as in the beginning, all of them ready."""
        self.scene.scale(REPLICAS)
        self.until(self.scene.is_calm)

    def await_rest(self, spec: Applied) -> str:
        """Wait until the release has come to an end that lasts; return what it says where that is none."""
        self.calm_down()
        deadline, since = time.monotonic() + SETTLES, time.monotonic()
        while time.monotonic() < deadline:
            time.sleep(PAUSE)
            if not self.is_at_rest(spec):
                since = time.monotonic()
            elif time.monotonic() - since >= QUIET:
                return ""
        status = self.sightings.latest().get("status", {})
        return f"{status.get('phase')}: {status.get('summary')} {status.get('rollout')}"

    def is_at_rest(self, spec: Applied) -> bool:
        """Ready, put back, taken off, or not proven, with this spec."""
        found = self.sightings.latest()
        if not found or Applied.to(found) != spec or not observed(found):
            return False
        return is_ready(found) or is_unproven(found) or found["status"].get("phase") in ("RolledBack", "Removed")

    def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SETTLES
        while not done():
            assert time.monotonic() < deadline, f"{self.namespace} does not come to rest"
            time.sleep(PAUSE)


def run(
    lab: Lab, operator: Operator, folder: Path, changes: Sequence[GoodChange], say: Say, keep: Keep
) -> list[AlarmRow]:
    """Every change, on so many stands at once; the gateways are gone in the end. ``keep`` gets each row as it ends."""
    cluster = LabCluster(lab, operator)
    try:
        with ThreadPoolExecutor(STANDS) as crew:
            stands = [set_up(cluster, f"alarms-{place + 1}", folder) for place in range(min(STANDS, len(changes)))]
            parts = [changes[place :: len(stands)] for place in range(len(stands))]
            played = [crew.submit(play_all, stand, part, say, keep) for stand, part in zip(stands, parts, strict=True)]
            return sorted((row for part in played for row in part.result()), key=lambda row: row.number)
    finally:
        cluster.clean_up()


def set_up(cluster: LabCluster, namespace: str, folder: Path) -> Stand:
    """Gateways of its own, and two versions of a plugin."""
    gateways.deploy(cluster, namespace, REPLICAS)
    refs = {version: cluster.push(wasm_modules.answering(version), folder, version) for version in VERSIONS}
    sightings = Sightings(cluster.lab, namespace)
    sightings.watch()
    return Stand(cluster, namespace, refs, sightings)


def play_all(stand: Stand, changes: Sequence[GoodChange], say: Say, keep: Keep) -> list[AlarmRow]:
    """One after the other."""
    return [played(stand, change, say, keep) for change in changes]


def played(stand: Stand, change: GoodChange, say: Say, keep: Keep) -> AlarmRow:
    row = stand.play(change)
    keep(row)
    put_back = f"put back: {row.put_back}" if row.put_back else ""
    ended = row.trouble or put_back or ("not proven" if row.unproven else "Ready")
    say(f"{change} ({row.when}): {ended}{' WRONG' if row.is_wrong else ''}")
    return row


def wrong(rows: Sequence[AlarmRow]) -> Iterator[str]:
    """A line for each that is."""
    for row in rows:
        if row.is_wrong:
            yield f"{row.number}: {row.what}, {row.when}: {row.trouble or f'put back, {row.put_back}'}"
