"""Whose bell rings when an object that carries a plugin changes; the streams that end are scripted, as real ones end
when they please."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import Any, cast

import pytest

from pluginrelease import api
from pluginrelease.controller import handlers
from pluginrelease.controller.context import Context
from pluginrelease.controller.handlers import Memo, TargetWatch
from pluginrelease.core.apiserver.answers import NotFound
from pluginrelease.core.mesh import istio
from pluginrelease.settings import Settings

JSON = dict[str, Any]


def carried(uid: str, version: int, owner: str) -> JSON:
    return {"metadata": {"uid": uid, "resourceVersion": str(version), "labels": {api.UID_LABEL: owner}}}


def listed(*items: JSON) -> JSON:
    return {"type": "LISTED", "items": list(items)}


class Scripted:
    """An API server whose streams are these, one after the other, and then silent; None: the kind is not known."""

    def __init__(self, streams: Iterable[list[JSON] | None]) -> None:
        self.streams = list(streams)
        self.told = asyncio.Event()

    async def tell(self, *_: object) -> AsyncGenerator[JSON]:
        if not self.streams:
            self.told.set()
            await asyncio.Event().wait()
        stream = self.streams.pop(0)
        if stream is None:
            raise NotFound("no such kind")
        for event in stream:
            yield event


ONE, OTHER = carried("x", 1, "one"), carried("y", 1, "other")

CASES: list[tuple[str, list[list[JSON] | None], set[str]]] = [
    ("the first listing rings nobody", [[listed(ONE, OTHER)]], set()),
    ("a change", [[listed(ONE, OTHER), {"type": "MODIFIED", "object": carried("x", 2, "one")}]], {"one"}),
    ("a deletion", [[listed(ONE, OTHER), {"type": "DELETED", "object": OTHER}]], {"other"}),
    ("a change while nobody watched", [[listed(ONE, OTHER)], [listed(carried("x", 2, "one"), OTHER)]], {"one"}),
    ("a deletion while nobody watched", [[listed(ONE, OTHER)], [listed(ONE)]], {"other"}),
    ("made anew while nobody watched", [[listed(ONE)], [listed(carried("z", 3, "one"))]], {"one"}),
    ("the stream ended, and nothing had changed", [[listed(ONE, OTHER)], [listed(ONE, OTHER)]], set()),
    ("the kind is taken away", [[listed(ONE, OTHER)], None], {"one", "other"}),
    ("the kind comes later: any release may wait for it", [None, [listed()]], {"one", "other"}),
    ("somebody's whose release is not here", [[listed(), {"type": "ADDED", "object": carried("q", 1, "who")}]], set()),
]


@pytest.mark.parametrize(("reason", "streams", "rung"), CASES, ids=[row[0] for row in CASES])
async def test_who_is_told(
    reason: str, streams: list[list[JSON] | None], rung: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Just the releases whose object another hand changed, made or deleted; also while the watch was away. And all of
    them when a kind comes that was missing."""
    monkeypatch.setattr(handlers, "WATCH_PAUSE", 0.0)
    monkeypatch.setattr(handlers, "KIND_PAUSE", 0.0)
    cluster = Scripted(streams)
    memo = Memo(Settings(), world=Context(cluster=cast(Any, cluster), settings=Settings(), shelf=cast(Any, None)))
    bells = {owner: memo.bell(owner) for owner in ("one", "other")}
    task = asyncio.create_task(TargetWatch(memo, istio.TARGET).follow())
    await asyncio.wait_for(cluster.told.wait(), 5)
    task.cancel()
    assert {owner for owner, bell in bells.items() if bell.is_set()} == rung, reason
