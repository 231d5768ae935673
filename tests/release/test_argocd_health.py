"""Every state of docs/states.md, and every action, through the scripts for Argo CD."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from pluginrelease import api
from tests import states
from tests.harness import columns
from tests.harness.argocd_scripts import Engine, Lua, ScriptError, offered
from tests.states import STATES, State

JSON = dict[str, Any]

HEALTH = {states.CURRENT: "Healthy", states.FAILED: "Degraded"}
LOADED = next(state for state in STATES if state.name == "Loaded")
OFF = next(state for state in STATES if state.name == "Off")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
OLDER, NEWER, RUNNING = "aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"


@pytest.fixture(scope="module")
def engine() -> Engine:
    """What runs the scripts."""
    return Lua()


@pytest.fixture(scope="module")
def answers(engine: Engine) -> dict[str, JSON]:
    """What Argo CD says of each row of `tests.states`, by its name."""
    found = engine.ask(state.found for state in STATES)
    return {columns.name(state): answer for state, answer in zip(STATES, found, strict=True)}


@pytest.mark.parametrize("state", STATES, ids=columns.name)
def test_argo_cd_agrees_with_kstatus(state: State, answers: dict[str, JSON]) -> None:
    """Argo CD says Degraded where kstatus says Failed, Healthy where it says Current, and else waits."""
    health = answers[columns.name(state)]["health"]
    assert health["status"] == HEALTH.get(state.kstatus, "Progressing")
    assert health["message"]


def test_the_page_has_what_the_script_says(answers: dict[str, JSON]) -> None:
    """The column of docs/states.md is what the script says of each state."""
    assert columns.compare("Argo CD", {name: answer["health"]["status"] for name, answer in answers.items()}) == []


def test_a_new_spec_is_not_healthy_before_the_operator_saw_it(engine: Engine) -> None:
    """The status of the generation before says nothing about the new spec, neither good nor bad."""
    newer = [changed(state.found, metadata={"generation": 2}) for state in STATES if state.name != "Deleting"]
    assert {answer["health"]["status"] for answer in engine.ask(newer)} == {"Progressing"}


def test_an_object_without_status_is_waited_for(engine: Engine) -> None:
    """While no operator runs, a release is not healthy."""
    bare = {key: value for key, value in LOADED.found.items() if key != "status"}
    [answer] = engine.ask([bare])
    assert answer["health"]["status"] == "Progressing"
    assert offered(answer) == {"retry", "suspend", "off"}


@pytest.mark.parametrize("state", STATES, ids=columns.name)
def test_what_is_off_can_be_switched_on_and_nothing_else_can(state: State, answers: dict[str, JSON]) -> None:
    """The actions that are offered change something: a release that is off is neither retried nor switched off."""
    actions = offered(answers[columns.name(state)])
    is_off = "switchedOff" in state.found["status"]
    assert ("on" in actions) == is_off
    assert ("off" in actions) != is_off
    assert ("retry" in actions) != is_off
    assert "resume" not in actions


COMMANDS = [
    ("retry", "", LOADED, api.RETRY_ANNOTATION, "T"),
    ("rollback", f"revision={OLDER}", LOADED, api.ROLLBACK_ANNOTATION, f"{OLDER}:T"),
    ("off", "", LOADED, api.OFF_ANNOTATION, "T: a user of Argo CD switched it off"),
    ("off", "reason=it drops requests", LOADED, api.OFF_ANNOTATION, "T: it drops requests"),
    ("on", "", OFF, api.ON_ANNOTATION, "T"),
]


@pytest.mark.parametrize(("action", "parameter", "state", "annotation", "value"), COMMANDS)
def test_an_action_sets_the_annotation_of_its_command(
    action: str, parameter: str, state: State, annotation: str, value: str, engine: Engine
) -> None:
    """The action writes one annotation with a value that was never used before, and nothing else."""
    written = engine.run(state.found, action, parameter)
    annotations = written["metadata"].pop("annotations")
    assert {key: TIME.sub("T", text) for key, text in annotations.items()} == {annotation: value}
    assert written["spec"] == state.found["spec"]


@pytest.mark.parametrize(("action", "wanted"), [("suspend", True), ("resume", False)])
def test_suspend_is_a_field_of_the_spec(action: str, wanted: bool, engine: Engine) -> None:
    """Suspending and resuming change `spec.suspend` alone, and only one of them is offered."""
    before = changed(LOADED.found, spec={"suspend": not wanted})
    [answer] = engine.ask([before])
    assert {"suspend", "resume"} & offered(answer) == {action}
    assert engine.run(before, action)["spec"] == {**LOADED.found["spec"], "suspend": wanted}


def test_off_and_on_leave_no_older_command_beside_them(engine: Engine) -> None:
    """A release that is restored without its status acts on the annotations that it has: only the last is left."""
    was_on = changed(LOADED.found, metadata={"annotations": {api.ON_ANNOTATION: "before"}})
    assert set(engine.run(was_on, "off")["metadata"]["annotations"]) == {api.OFF_ANNOTATION}
    was_off = changed(OFF.found, metadata={"annotations": {api.OFF_ANNOTATION: "before"}})
    assert set(engine.run(was_off, "on")["metadata"]["annotations"]) == {api.ON_ANNOTATION}


def with_history(**rollout: Any) -> JSON:
    """Return a release in which RUNNING runs, and two others ran before."""
    rows = [(RUNNING, 5, "Stable"), ("dddddddddd", 4, "Failed"), (NEWER, 3, "Superseded"), (OLDER, 2, "Superseded")]
    history = [{"revision": revision, "number": number, "state": state} for revision, number, state in rows]
    gateways = [{"name": "public", "revision": RUNNING, "stable": {"revision": RUNNING}}]
    return changed(LOADED.found, status={"history": history, "gateways": gateways, "rollout": rollout})


def test_a_rollback_takes_the_newest_other_revision_that_ran(engine: Engine) -> None:
    """Without a revision it goes to the last one that ran everywhere, not to one that failed."""
    assert "rollback" in offered(engine.ask([with_history()])[0])
    written = engine.run(with_history(), "rollback")
    assert written["metadata"]["annotations"][api.ROLLBACK_ANNOTATION].startswith(f"{NEWER}:")


def test_a_rollback_after_a_failure_wants_a_revision(engine: Engine) -> None:
    """What the operator put back is not left for a still older revision unless the user names it."""
    failed = with_history(failure={"revision": "dddddddddd", "gateways": ["public"]})
    with pytest.raises(ScriptError):
        engine.run(failed, "rollback")
    named = engine.run(failed, "rollback", f"revision={OLDER}")
    assert named["metadata"]["annotations"][api.ROLLBACK_ANNOTATION].startswith(f"{OLDER}:")


def changed(found: JSON, **parts: JSON) -> JSON:
    """Return an object with other fields in its parts."""
    made = copy.deepcopy(found)
    for part, fields in parts.items():
        made[part] = {**made[part], **fields}
    return made
