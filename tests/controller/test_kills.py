"""The operator killed before and after each of its writes, with three entries: the end is the same each time.

`make soak` does it with a real operator on real gateways, in minutes; here are all writes of one process, in seconds. A
kill is a request after which no other one comes through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from pluginrelease import api
from pluginrelease.controller import looking
from pluginrelease.controller.cleanup import clean_up
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.reconcile import reconcile
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.rollout.facts import EntryView
from tests.controller import scripted_steps
from tests.controller.scripted_api import ScriptedAPI, context
from tests.harness.reasons import give_reason
from tests.harness.releases import manifest

JSON = dict[str, Any]
Answer = TypeVar("Answer")

ENTRIES: dict[str, JSON] = {
    "public": {"namespace": "istio-ingress", "selector": {"matchLabels": {"istio": "ingressgateway"}}},
    "east": {"namespace": "apps", "selector": {"matchLabels": {"side": "east"}}},
    "west": {"namespace": "apps", "selector": {"matchLabels": {"side": "west"}}},
}
PASSES = 12
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Killed(BaseException):
    """The operator is dead."""


class MortalAPI(ScriptedAPI):
    """It stores the status as well, and the write of this ``number`` is the operator's last; 0: none is."""

    def __init__(self, *objects: JSON) -> None:
        super().__init__(*objects)
        self.status: JSON = {}
        self.number, self.when, self.count, self.dead = 0, "", 0, False
        annotations = {api.ALLOWED_NAMESPACES_ANNOTATION: "*"}
        self.namespaces = {"apps": {"apiVersion": "v1", "kind": "Namespace", "metadata": {"annotations": annotations}}}

    def live(self, number: int = 0, when: str = "") -> None:
        """Another operator starts, which dies on that side of that write."""
        self.number, self.when, self.count, self.dead = number, when, 0, False

    async def _ask(self, verb: str, plural: str) -> None:
        if self.dead:
            raise Killed
        await super()._ask(verb, plural)

    async def _write(self, act: Callable[[], Awaitable[Answer]]) -> Answer:
        if self.dead:
            raise Killed
        self.count += 1
        is_last = self.count == self.number
        if is_last and self.when == "before":
            self.dead = True
            raise Killed
        answer = await act()
        if is_last:
            self.dead = True
            raise Killed
        return answer

    async def apply(self, manifest: JSON, *, uid: str | None, version: str | None = None) -> JSON:
        return await self._write(lambda: super(MortalAPI, self).apply(manifest, uid=uid, version=version))

    async def delete(self, observed: JSON) -> None:
        await self._write(lambda: super(MortalAPI, self).delete(observed))

    async def disown(self, observed: JSON) -> None:
        await self._write(lambda: super(MortalAPI, self).disown(observed))

    async def apply_status(self, release: api.Release, status: api.Status, version: str | None = None) -> None:
        async def store() -> None:
            self.status = status.wire()

        await self._write(store)


@dataclass
class ReleaseLife:
    """A release, and what has become of it: ``seen`` is the end of each stage."""

    cluster: MortalAPI = field(default_factory=MortalAPI)
    generation: int = 0
    seen: dict[str, JSON] = field(default_factory=dict)

    async def go_through(self, stage: str, number: int = 0, when: str = "") -> int:
        """One stage, killed on that side of that write; return how many writes the first operator made."""
        self.generation += 1
        self.cluster.live(number, when)
        made = await self.work(stage)
        self.seen[stage] = self.look()
        return made

    async def work(self, stage: str) -> int:
        """Passes of one operator, and after its death of another one, until nothing changes."""
        try:
            await self.run(stage)
            return self.cluster.count
        except Killed:
            made = self.cluster.count
            self.cluster.live()
            await self.run(stage)
            return made

    async def run(self, stage: str) -> None:
        """What one operator does: it starts, and works until two passes come to the same."""
        operator = context(self.cluster)
        if stage == "deletion":
            await clean_up(operator, self.body(stage))
            return
        before: JSON | None = None
        for _ in range(PASSES):
            release = api.Release.model_validate(self.body(stage))
            ending = await reconcile(operator, release, attempt=0)
            if (found := timeless(ending.status.wire())) == before:
                return
            before = found
            await self.cluster.apply_status(release, ending.status)
        raise AssertionError(f"{stage} comes to no end: {before}")

    def body(self, stage: str) -> JSON:
        """The release as the API server has it in this stage."""
        version, names = STAGES[stage]
        gateways = [{"name": name, **ENTRIES[name]} for name in names]
        plugin = {"config": {"version": version}}
        made = manifest(spec__gateways=gateways, spec__plugin=plugin, metadata__generation=self.generation)
        return {**made, "status": self.cluster.status}

    def look(self) -> JSON:
        """All that is there, without what another run has otherwise."""
        objects = {f"{kind.plural} {place}/{name}": it for (kind, place, name), it in self.cluster.objects.items()}
        return timeless({"objects": objects, "status": self.cluster.status})


STAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "release": ("1", ("public", "east", "west")),
    "update": ("2", ("public", "east", "west")),
    "rollback": ("bad", ("public", "east", "west")),
    "removal": ("bad", ("public", "east")),
    "deletion": ("bad", ("public", "east")),
}


def timeless(value: JSON) -> JSON:
    found: JSON = json.loads(TIME.sub("<time>", json.dumps(value, sort_keys=True)))
    return found


@pytest.fixture
def gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways load everything, but those of `west` refuse the bad version."""

    async def judge(work: PassContext, entry: EntryView, candidate: Candidate) -> tuple[tuple[()], Verdict]:
        is_bad = candidate.release.spec.plugin.config == {"version": "bad"} and entry.name == "west"
        state = State.UNHEALTHY if is_bad else State.LOADED
        reason = give_reason(state, "PluginRejected" if is_bad else "Loaded")
        pod = PodRef(entry.gateway.namespace, f"pod-{entry.name}", f"uid-{entry.name}", ready=True)
        return (), Verdict(state, reason, f"it {reason}", (PodVerdict(pod, state, reason, ""),))

    monkeypatch.setattr(looking, "judge", judge)
    scripted_steps.check_by(monkeypatch)


def kills() -> Iterator[tuple[str, str]]:
    yield from ((stage, when) for stage in STAGES for when in ("before", "after"))


async def test_a_life_without_a_kill(gateways: None) -> None:
    """What the others are compared with is what a user wants: three entries, put back on all three, one less, none."""
    life = ReleaseLife()
    for stage in STAGES:
        await life.go_through(stage)
    phases = {stage: seen["status"].get("phase") for stage, seen in life.seen.items()}
    assert phases == {
        "release": "Ready",
        "update": "Ready",
        "rollback": "RolledBack",
        "removal": "RolledBack",
        "deletion": "RolledBack",
    }
    plugins = {
        stage: sorted(name.split("-")[-1] for name in seen["objects"] if name.startswith("wasmplugins"))
        for stage, seen in life.seen.items()
    }
    assert [len(plugins[stage]) for stage in STAGES] == [3, 3, 3, 2, 0]
    revisions = {row["name"]: row["revision"] for row in life.seen["rollback"]["status"]["gateways"]}
    assert set(revisions.values()) == {life.seen["update"]["status"]["stableRevision"]}


@pytest.mark.parametrize(("stage", "when"), list(kills()))
async def test_the_end_is_the_same(gateways: None, stage: str, when: str) -> None:
    """Nothing that matters is in the operator's memory."""
    wanted = ReleaseLife()
    for name in STAGES:
        writes = await wanted.go_through(name)
        if name == stage:
            break
    assert writes
    for number in range(1, writes + 1):
        life = ReleaseLife()
        for name in STAGES:
            made = await life.go_through(name, number if name == stage else 0, when)
            if name == stage:
                break
        assert made == number, f"{stage} was killed {when} write {number}"
        assert life.seen[stage] == wanted.seen[stage], f"{stage}, killed {when} write {number} of {writes}"
