"""The operator killed at every write, before and after it, and at random moments: the end is always the same.

A run is a release's life in four stages: a first release, an update, an update that fails and is rolled back, and the
deletion. In each stage of a run the operator is killed once, another is started, and what is then in the cluster and in
the gateway must be what it is without any kill. The release is in a namespace of its own with a pull secret, so that
nothing is found by owner references, and a copy of the secret is made.
"""

from __future__ import annotations

import asyncio
import difflib
import functools
import json
import random
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench.figures import aligned
from pluginrelease import api
from pluginrelease_lab import Lab
from pluginrelease_lab.host import GatewayPod
from pluginrelease_lab.kubeapi import KubeApi
from tests import wasm_modules
from tests.harness import gateways, interruption, registries
from tests.harness.cluster import GATEWAY_NAMESPACE, JSON, Operator, World, is_ready, observed, ready
from tests.harness.interrupter import Order
from tests.harness.interruption import Relay

NAME = "plugin"
NAMESPACE = "soak"
LEVEL = "error"
"""Of the gateway's filter logger: nobody's default."""
SETTLE = 90.0
"""Seconds to the end of a stage, with or without a kill."""
STILL = 6.0
"""Seconds without a change after which a run without kills has come to its end."""
STAYS = 1.0
PAUSE = 0.2
NOT_EVENTS = r"^(?!.*/events).*$"
# made by others, and different with each run
IGNORED = frozenset({"pods", "events"})

Say = Callable[[str], None]


@dataclass(frozen=True)
class LifeStage:
    """One change by a user, and what ends it."""

    name: str
    change: Callable[[Scene], None]
    ended: Callable[[Scene], bool]


@dataclass(frozen=True)
class Kill:
    """Where: at a write on one side of it, or some seconds after the change."""

    number: int = 0
    when: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.when} write {self.number}" if self.number else f"after {self.seconds:.2f} s"


@dataclass(frozen=True)
class Plan:
    """Both sides of every write, then ``moments`` kills at moments that ``seed`` decides; or ``only`` these."""

    moments: int
    seed: int
    only: tuple[tuple[str, Kill], ...] = ()


@dataclass(frozen=True)
class Run:
    """One kill in one stage: whether it came to it, and how the end differed from the one without a kill."""

    stage: str
    kill: Kill
    killed: bool
    difference: str


@dataclass
class Outcome:
    """What a whole series of runs has shown."""

    seed: int
    writes: dict[str, list[str]]
    runs: list[Run] = field(default_factory=list)

    @property
    def counted(self) -> list[Run]:
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


@dataclass(frozen=True, order=True)
class Kind:
    """Objects of one plural name; ``root`` is the API server's path to their version."""

    plural: str
    root: str

    @classmethod
    def of(cls, plural: str, version: str) -> Kind:
        return cls(plural, f"/apis/{version}" if "/" in version else f"/api/{version}")


@dataclass
class Scene:
    """A namespace with a pull secret, images to release, one gateway, and an operator behind a relay."""

    world: World
    relay: Relay
    refs: dict[str, str]

    @property
    def lab(self) -> Lab:
        return self.world.lab

    # ------------------------------------------------------------------------------------ what the user does

    def apply(self, version: str) -> None:
        """The release with this image; the bad one is refused by the gateway because it is given a configuration."""
        image = {"ref": self.refs[version], "insecure": True, "pullSecretRef": {"name": "login"}}
        plugin = {"phase": "AUTHN", "config": {"key": "value"}}
        manifest = self.world.manifest(NAME, "", namespace=NAMESPACE, artifact={"image": image}, plugin=plugin)
        self.lab.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))

    def delete(self) -> None:
        """Does not wait: the operator may be killed meanwhile."""
        self.lab.kubectl("delete", "prel", NAME, "-n", NAMESPACE, "--wait=false")

    def release(self) -> JSON:
        """The release; an empty object when there is none."""
        return self.world.get(api.PLURAL, NAMESPACE, NAME) or {}

    # ------------------------------------------------------------------------------------------ what is there

    def snapshot(self) -> str:
        """All that is in both namespaces, the gateway's log level and its answer; without what time alone changes."""
        [pod] = self.world.gateways()
        answer = self.lab.request(pod.address, 8080, "/")
        objects, level = asyncio.run(self.look(pod))
        gateway = {"filterLogger": level, "answers": [answer.status, answer.headers.get("x-plugin")]}
        return yaml.safe_dump({"gateway": gateway, "objects": objects}, sort_keys=True)

    async def look(self, pod: GatewayPod) -> tuple[list[JSON], str]:
        """Every object, ours whole and of all others the names; and the level of the gateway's filter logger."""
        async with KubeApi.of(self.lab.kubeconfig) as api:
            places = [(kind, namespace) for kind in self.kinds for namespace in (NAMESPACE, GATEWAY_NAMESPACE)]
            asked = (api.get(f"{kind.root}/namespaces/{namespace}/{kind.plural}") for kind, namespace in places)
            lists = await asyncio.gather(*asked)
            answer = await gateways.ask_pod(api, pod, "POST", "/logging")
        found = [
            {"kind": kind.plural, "namespace": namespace, **(timeless(item) if is_ours(kind, item) else named(item))}
            for (kind, namespace), listed in zip(places, lists, strict=True)
            for item in listed["items"]
        ]
        return found, gateways.level_of(answer)

    @functools.cached_property
    def kinds(self) -> list[Kind]:
        """Every kind of object that a namespace can have here."""
        printed = self.lab.kubectl("api-resources", "--namespaced", "--verbs=list", "--no-headers").splitlines()
        rows = [line.split() for line in printed]
        return sorted(Kind.of(row[0], row[-3]) for row in rows if row[0] not in IGNORED)


def is_ours(kind: Kind, one: JSON) -> bool:
    """Whether the operator wrote it, or writes to it."""
    return kind.plural == api.PLURAL or api.UID_LABEL in one["metadata"].get("labels", {})


def named(one: JSON) -> JSON:
    """Only what it is called."""
    return {"metadata": {"name": one["metadata"]["name"]}}


STAGES = (
    LifeStage("release", lambda scene: scene.apply("v1"), lambda scene: is_ready(scene.release())),
    LifeStage("update", lambda scene: scene.apply("v2"), lambda scene: is_ready(scene.release())),
    LifeStage("rollback", lambda scene: scene.apply("bad"), lambda scene: rolled_back(scene.release())),
    LifeStage("deletion", lambda scene: scene.delete(), lambda scene: not scene.release()),
)


def rolled_back(release: JSON) -> bool:
    """The bad revision has failed, and the stable one is seen running again."""
    return observed(release) and ready(release)["status"] == "False" and release["status"]["phase"] == "RolledBack"


# ----------------------------------------------------------------------------------------- what two runs may differ in

CHANGES_BY_ITSELF = frozenset({"managedFields", "resourceVersion", "generation"})
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
SPAN = re.compile(r"\b\d+(\.\d+)? (s|ms|min|seconds|minutes)\b")
PROOF = re.compile(r"^(Runs the plugin): .*", re.DOTALL)


def are_lines_of_pods(key: str, value: Any) -> bool:
    """Whether these are hashes and counters of pods, or what they refer to, in a checkpoint."""
    return key in ("pods", "shared") and all(isinstance(one, str) for one in value)


def timeless(value: Any) -> Any:
    """The same without versions of objects, uids, times and spans, and without what depends on the gateway's past:
    its counters before the write, and which of several signs has proved that it runs the plugin.
    """
    match value:
        case dict():
            kept = {key: one for key, one in value.items() if key not in CHANGES_BY_ITSELF}
            return {key: len(one) if are_lines_of_pods(key, one) else timeless(one) for key, one in kept.items()}
        case list():
            return sorted((timeless(one) for one in value), key=lambda one: json.dumps(one, sort_keys=True))
        case str():
            return PROOF.sub(r"\1", SPAN.sub("<span>", TIME.sub("<time>", UUID.sub("<uid>", value))))
        case _:
            return value


# ------------------------------------------------------------------------------------------------------------ the runs


def run(lab: Lab, operator: Operator, folder: Path, plan: Plan, say: Say) -> Outcome:
    """Runs without kills, then those of the plan."""
    with interruption.relay(lab, folder) as relay:
        operator.arguments = ("--kubeconfig", str(relay.kubeconfig))
        series = Series(prepare(World(lab, operator), relay, folder), say)
        outcome = series.without_kills(plan.seed)
        for stage, kill in plan.only:
            series.life(outcome, {stage: kill})
        if not plan.only:
            series.at_writes(outcome)
            series.at_moments(outcome, plan.moments)
        operator.stop()
    return outcome


def prepare(world: World, relay: Relay, folder: Path) -> Scene:
    """The namespace, its secret and its leave to write to the gateways; images; the gateway's log level."""
    lab = world.lab
    modules = {
        "v1": wasm_modules.answering("v1"),
        "v2": wasm_modules.answering("v2"),
        "bad": wasm_modules.answering("bad", refuses_configuration=True),
    }
    secret = registries.pull_secret("login", NAMESPACE, lab.private_registry, lab.private_credentials)
    for manifest in ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, secret):
        lab.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))
    leave = f"{api.ALLOWED_NAMESPACES_ANNOTATION}={NAMESPACE}"
    lab.kubectl("annotate", "namespace", GATEWAY_NAMESPACE, leave, "--overwrite")
    for pod in world.gateways():
        gateways.filter_level(lab, pod, LEVEL)
    return Scene(world, relay, {version: push(lab, module, version, folder) for version, module in modules.items()})


def push(lab: Lab, module: bytes, version: str, folder: Path) -> str:
    """To the registry with a password; the reference as gateways know it."""
    path = folder / f"{version}.wasm"
    path.write_bytes(module)
    return registries.push_private(lab, path, f"soak/plugin:{version}")


@dataclass
class Series:
    """Many runs on one scene, all compared with the first."""

    scene: Scene
    say: Say
    ends: dict[str, str] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)

    def without_kills(self, seed: int) -> Outcome:
        """The ends to compare with, from one run; a second one must come to the same, or nothing can be compared."""
        outcome = Outcome(seed, {})
        for stage in STAGES:
            outcome.writes[stage.name] = self.uninterrupted(stage)
        for stage in STAGES:
            self.uninterrupted(stage)
        return outcome

    def uninterrupted(self, stage: LifeStage) -> list[str]:
        """One stage to its end, by an operator that has just started; the writes that it made."""
        scene, operator = self.scene, self.scene.world.operator
        pid = start(operator)
        scene.relay.take(Order(pid, path=NOT_EVENTS, number=0))
        began = time.monotonic()
        stage.change(scene)
        self.await_(lambda: stage.ended(scene), f"{stage.name} does not end")
        self.took[stage.name] = time.monotonic() - began
        end = self.still()
        writes = [line.removeprefix("passed ") for line in heard(scene.relay)]
        operator.kill()
        if difference := differences(self.ends.setdefault(stage.name, end), end):
            raise AssertionError(
                f"two runs of {stage.name} without kills differ, and nothing can be compared:\n{difference}"
            )
        self.say(f"{stage.name}: {self.took[stage.name]:.1f} s, {len(writes)} writes")
        return writes

    def still(self) -> str:
        """The snapshot, once it has not changed for some time."""
        seen, since = self.scene.snapshot(), time.monotonic()
        while time.monotonic() < since + STILL:
            time.sleep(PAUSE)
            now = self.scene.snapshot()
            if now != seen:
                seen, since = now, time.monotonic()
        return seen

    def at_writes(self, outcome: Outcome) -> None:
        """On both sides of the first write, of the second, and so on, until no stage has so many."""
        number, killed = 0, True
        while killed:
            number += 1
            killed = False
            for when in ("before", "after"):
                kills = {stage.name: Kill(number, when) for stage in STAGES}
                killed |= any(run.killed for run in self.life(outcome, kills))

    def at_moments(self, outcome: Outcome, moments: int) -> None:
        """In each stage somewhen between the change and its end, as long as it takes without a kill."""
        chance = random.Random(outcome.seed)
        while (left := moments - sum(not run.kill.when for run in outcome.counted)) > 0:
            chosen = STAGES if left >= len(STAGES) else STAGES[:left]
            kills = {stage.name: Kill(seconds=chance.uniform(0, self.took[stage.name])) for stage in chosen}
            self.life(outcome, kills)

    def life(self, outcome: Outcome, kills: dict[str, Kill]) -> list[Run]:
        """One release through all stages, with a kill in each that has one; ends early when one ends otherwise."""
        runs: list[Run] = []
        for stage in STAGES:
            one = self.interrupted(stage, kills.get(stage.name))
            if one is not None:
                runs.append(one)
                self.say(f"{stage.name}, killed {one.kill}: {told(one)}")
            if one is not None and one.difference:
                self.say(one.difference)
                self.clear()
                break
        outcome.runs += runs
        return runs

    def interrupted(self, stage: LifeStage, kill: Kill | None) -> Run | None:
        """One stage with a kill, another operator after it, and the end that it comes to."""
        scene, operator = self.scene, self.scene.world.operator
        pid = operator.process.pid if operator.process else start(operator)
        number = kill.number if kill else 0
        scene.relay.take(Order(pid, path=NOT_EVENTS, number=number, when=kill.when if kill and number else "after"))
        stage.change(scene)
        killed = self.await_death(operator, kill, stage) if kill else False
        if killed:
            start(operator)
        difference = self.difference(self.ends[stage.name])
        return Run(stage.name, kill, killed, difference) if kill else None

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
            heard(self.scene.relay)
            if time.monotonic() > deadline or (self.scene.snapshot() == self.ends[stage.name]):
                return False
        assert operator.process.returncode == -signal.SIGKILL, operator.log.read_text()[-3000:]
        operator.process = None
        return True

    def difference(self, wanted: str) -> str:
        """Nothing once the snapshot is as wanted, and stays so; else how it differs at the deadline."""
        deadline = time.monotonic() + SETTLE
        while True:
            found = self.scene.snapshot()
            time.sleep(PAUSE)
            if found == wanted:
                time.sleep(STAYS)
                found = self.scene.snapshot()
            if found == wanted or time.monotonic() > deadline:
                return differences(wanted, found)

    def clear(self) -> None:
        """After a run that ended otherwise: the next one begins without its release."""
        self.scene.lab.kubectl(
            "delete", "prel", NAME, "-n", NAMESPACE, "--ignore-not-found", "--timeout=60s", timeout=90
        )
        for pod in self.scene.world.gateways():
            gateways.filter_level(self.scene.lab, pod, LEVEL)

    def await_(self, done: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + SETTLE
        while not done():
            time.sleep(PAUSE)
            assert time.monotonic() < deadline, f"{otherwise}:\n{yaml.safe_dump(self.scene.release().get('status'))}"


def start(operator: Operator) -> int:
    """The process id of a new operator."""
    operator.process = None
    operator.start()
    assert operator.process is not None
    return int(operator.process.pid)


def heard(relay: Relay) -> Sequence[str]:
    """What the relay has said since its last order."""
    while relay.hear(0):
        pass
    return relay.said


def told(one: Run) -> str:
    """In a word."""
    if one.difference:
        return "ENDED OTHERWISE"
    return "ended the same" if one.killed else "it was over before"


def differences(wanted: str, found: str) -> str:
    """What is other, line by line; "" for nothing."""
    lines = difflib.unified_diff(wanted.splitlines(), found.splitlines(), "without a kill", "with it", n=3, lineterm="")
    return "\n".join(lines)
