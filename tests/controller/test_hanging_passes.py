"""A pass or a clean-up that hangs: it is given up, and begins anew."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import kopf
import pytest

from pluginrelease.controller import cleanup, handlers
from pluginrelease.controller.handlers import Next
from pluginrelease.controller.turns import Stake
from pluginrelease.core.apiserver import health
from pluginrelease.settings import Settings
from tests.controller.scripted_api import ScriptedAPI, context
from tests.controller.test_way_back import carrier, manifest


class HangingPass:
    """Waits for what never comes, and notes whether it was given up."""

    def __init__(self) -> None:
        self.is_given_up = False

    async def run(self) -> Next:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.is_given_up = True
            raise
        return Next(300.0)


async def test_a_pass_that_hangs_is_given_up_and_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time it is cancelled as for something urgent; the next one comes soon, about the same stake."""
    monkeypatch.setattr(health, "PASS_SECONDS", 0.05)
    hanging = HangingPass()
    after = await asyncio.wait_for(handlers.within_bounds(hanging.run(), 0, Stake.WRITTEN), 5)
    assert hanging.is_given_up
    assert after.stake is Stake.WRITTEN
    assert after.look_again < 60


async def test_a_deadline_within_a_pass_is_no_end_of_its_time() -> None:
    """What a step says of its own time is an error of that step, as before."""

    async def fail() -> Next:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await handlers.within_bounds(fail(), 0, Stake.NOTHING)


async def test_a_clean_up_that_hangs_is_given_up_and_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clean-up of a deleted release counts as a pass under way. One that hangs ends as a pass does, and kopf begins
    the next one, which takes the plugin off."""
    body = manifest()
    cluster, hanging = ScriptedAPI(carrier(body)), HangingPass()
    memo = handlers.Memo(Settings(), context=context(cluster))
    under_way: list[int] = []

    async def hang(*_: Any) -> Any:
        under_way.append(memo.turns.under_way(Stake.OUTAGE))
        return await hanging.run()

    with monkeypatch.context() as once:
        once.setattr(health, "PASS_SECONDS", 0.05)
        once.setattr(cleanup, "clean_up", hang)
        with pytest.raises(kopf.TemporaryError):
            await delete(memo, body)
    assert hanging.is_given_up
    assert (under_way, memo.turns.under_way(Stake.OUTAGE)) == ([1], 0)
    await delete(memo, body)
    assert cluster.writes() == ["DELETE wasmplugins"]


async def delete(memo: handlers.Memo, body: dict[str, Any]) -> None:
    """As kopf does for a release that is being deleted."""
    await asyncio.wait_for(handlers.clean_up_in_time(memo, kopf.Body(cast(Any, body))), 5)
