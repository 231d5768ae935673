"""Which changes of a release go before the passes over all others: commands that take back, and specs that do."""

from __future__ import annotations

from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.controller import handlers, interruption
from pluginrelease.controller.handlers import Memo
from pluginrelease.controller.interruption import SeenRelease
from pluginrelease.controller.turns import Stake
from pluginrelease.core import revision
from pluginrelease.settings import Settings
from tests.controller.rolling import OLD, rolling_out
from tests.harness.releases import DIGEST

JSON = dict[str, Any]

OLD_CONFIG: JSON = {"config": {"old": True}}
WROTE = "2026-01-01T00:00:00Z"


def changed(
    plugin: JSON | None = None,
    *,
    state: str = "Superseded",
    generation: int = 2,
    annotations: dict[str, str] | None = None,
    handled: JSON | None = None,
) -> JSON:
    """A release that runs a revision, after a user's change; ``state`` is that of the revision before."""
    body = rolling_out()
    deployed = {"firstDeployed": WROTE, "lastDeployed": WROTE, "ref": "r", "digest": DIGEST}
    body["status"]["history"] += [{"revision": OLD, "number": 1, "state": state, **deployed}]
    body["status"]["targetRevision"] = body["status"]["history"][0]["revision"]
    body["status"] |= {"handled": handled} if handled else {}
    body["metadata"] |= {"generation": generation, "annotations": annotations or {}}
    body["spec"] |= {"plugin": plugin} if plugin else {}
    return body


def identity(body: JSON) -> str:
    return revision.compute_identity(api.Release.model_validate(body).spec, DIGEST)


RETURNS = [
    ("a commit was reverted", changed(OLD_CONFIG), True),
    ("what it returns to has never run everywhere", changed(OLD_CONFIG, state="Failed"), False),
    ("a new revision", changed({"config": {"new": True}}), False),
    ("nothing that makes a revision was changed", changed(), False),
    ("a pass has seen it", changed(OLD_CONFIG, generation=1), False),
]


@pytest.mark.parametrize(("why", "body", "is_return"), RETURNS, ids=[row[0].replace(" ", "-") for row in RETURNS])
def test_a_spec_that_returns_to_what_ran(why: str, body: JSON, is_return: bool) -> None:
    """It is as urgent as the command, also for a pass under way; once it is known it interrupts no other one."""
    assert interruption.returns(body) is is_return, why
    seen = SeenRelease(commands=(None, None))
    assert seen.note(body) is is_return
    assert not seen.note(body), "it is known by then"


TOLD = {api.ROLLBACK_ANNOTATION: f"{OLD}:1"}
COMMANDS = [
    ("a rollback-to", changed(annotations=TOLD), True),
    ("off", changed(annotations={api.OFF_ANNOTATION: "1: it hurts"}), True),
    ("a pass has acted on it", changed(annotations=TOLD, handled={"rollbackTo": TOLD[api.ROLLBACK_ANNOTATION]}), False),
    ("another one than the last", changed(annotations=TOLD, handled={"rollbackTo": "before:0"}), True),
    ("a retry goes forward", changed(annotations={api.RETRY_ANNOTATION: "1"}), False),
    ("no command", changed(), False),
]


@pytest.mark.parametrize(("why", "body", "is_new"), COMMANDS, ids=[row[0].replace(" ", "-") for row in COMMANDS])
def test_a_command_that_takes_back(why: str, body: JSON, is_new: bool) -> None:
    """It goes first from the moment when the operator hears of it, also if no pass is under way."""
    assert interruption.has_new_command(body) is is_new, why
    assert handlers.is_way_back(Memo(Settings()), body) is is_new, why


async def test_many_specs_that_return_at_once_have_a_bound() -> None:
    """One commit may revert hundreds of releases; a command has no bound."""
    memo, body = Memo(Settings()), changed(OLD_CONFIG)
    assert identity(body) == OLD
    assert handlers.is_way_back(memo, body)
    for _ in range(handlers.RETURNS_AT_ONCE):
        await memo.turns.take(Stake.OUTAGE).__aenter__()
    assert not handlers.is_way_back(memo, body)
    assert handlers.is_way_back(memo, changed(annotations=TOLD))
