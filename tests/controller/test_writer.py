"""The one writer: its gate, and what it does about an object that changed meanwhile. The API server is scripted."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller.writer import TRIES, Writer
from pluginrelease.core.errors import Transient, Waiting
from tests.harness.releases import JSON, manifest, release

CONFLICT = Transient(Reason.CONFLICT, "the object changed meanwhile")
GONE = Transient(Reason.API_SERVER_UNAVAILABLE, "gone")


def plugin(version: str = "1", uid: str = "x", owner: str = "mine") -> JSON:
    """An object that carries a plugin."""
    metadata = {"namespace": "n", "name": "p", "uid": uid, "resourceVersion": version}
    labels = {api.UID_LABEL: owner}
    return {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {**metadata, "labels": labels},
    }


class ScriptedWrites:
    """An API server that has this object, and takes a write only of its version."""

    def __init__(self, there: JSON | None, fault: Transient | None = None) -> None:
        self.there = there
        self.fault = fault
        self.tried: list[str | None] = []

    async def get(self, *_: object) -> JSON | None:
        return self.there

    async def delete(self, observed: JSON) -> None:
        self._take(observed["metadata"]["resourceVersion"])
        self.there = None

    async def apply_status(self, _: api.Release, status: api.Status, version: str | None = None) -> JSON:
        self._take(version)
        assert self.there is not None
        own = self.there["metadata"]
        self.there = {**self.there, "metadata": {**own, "resourceVersion": f"{version}+"}, "status": status.wire()}
        return self.there

    def _take(self, version: str | None) -> None:
        self.tried.append(version)
        if self.fault is not None:
            raise self.fault
        if self.there is not None and self.there["metadata"]["resourceVersion"] != version:
            raise CONFLICT


def writer(cluster: ScriptedWrites) -> Writer:
    return Writer(cast(Any, cluster))


# reason, what is there when version 1 is to be deleted, the versions that are named, what is left
DELETIONS: list[tuple[str, JSON | None, list[str], str | None]] = [
    ("nothing changed", plugin(), ["1"], None),
    ("another hand changed it", plugin("2"), ["1", "2"], None),
    ("it was made anew", plugin("2", uid="y"), ["1"], "y"),
    ("it became another release's", plugin("2", owner="theirs"), ["1"], "x"),
]


@pytest.mark.parametrize(("reason", "there", "tried", "left"), DELETIONS, ids=[row[0] for row in DELETIONS])
async def test_what_goes_goes(reason: str, there: JSON | None, tried: list[str], left: str | None) -> None:
    """An object that was changed is deleted all the same, in the version that it has; one of somebody else's is not."""
    cluster = ScriptedWrites(there)
    await writer(cluster).delete("mine", plugin())
    assert cluster.tried == tried, reason
    assert (cluster.there["metadata"]["uid"] if cluster.there else None) == left


@pytest.mark.parametrize(("fault", "tries"), [(CONFLICT, TRIES), (GONE, 1)], ids=["changed each time", "unreachable"])
async def test_it_does_not_try_for_ever(fault: Transient, tries: int) -> None:
    """Another hand that writes all the time, or an API server that is gone, is said."""
    cluster = ScriptedWrites(plugin(), fault)
    with pytest.raises(Transient) as found:
        await writer(cluster).delete("mine", plugin())
    assert (found.value.reason, len(cluster.tried)) == (fault.reason, tries)


def changed(version: str, **fields: Any) -> JSON:
    """The release in another version."""
    return manifest(metadata__resourceVersion=version, metadata__generation=1, **fields)


# reason, what is there when version 1 was read, the versions that are named; None last: it is refused
STATUSES: list[tuple[str, JSON, list[str], bool]] = [
    ("nothing changed", changed("1"), ["1"], True),
    ("a label changed", changed("2", metadata__labels={"team": "a"}), ["1", "2"], True),
    ("the spec changed", {**changed("2"), "metadata": {**changed("2")["metadata"], "generation": 2}}, ["1"], False),
    ("another operator wrote a status", changed("2", status={"phase": "Ready"}), ["1"], False),
    ("it was made anew", changed("2", metadata__uid="other"), ["1"], False),
]


@pytest.mark.parametrize(("reason", "there", "tried", "is_written"), STATUSES, ids=[row[0] for row in STATUSES])
async def test_a_status_of_what_was_read(reason: str, there: JSON, tried: list[str], is_written: bool) -> None:
    """A status is of the spec and of the status that the pass read: neither may be another by now."""
    cluster, read = ScriptedWrites(there), release(metadata__resourceVersion="1", metadata__generation=1)
    writing = writer(cluster).write_status(read, api.Status(phase="Applied"))
    if is_written:
        await writing
    else:
        with pytest.raises(Transient):
            await writing
    assert cluster.tried == tried, reason


async def test_a_pass_writes_twice() -> None:
    """The second status of a pass names the version that the first one made."""
    cluster, read = ScriptedWrites(changed("1")), release(metadata__resourceVersion="1", metadata__generation=1)
    one = writer(cluster)
    await one.write_status(read, api.Status(phase="Applied"))
    await one.write_status(read, api.Status(phase="Ready"))
    assert cluster.tried == ["1", "1+"]


async def test_nothing_is_written_after_the_gate_is_closed() -> None:
    """The clean-up waits for the write that is on its way, also when whoever wanted it is gone; no other follows."""
    one, begun, end, ended = writer(ScriptedWrites(None)), asyncio.Event(), asyncio.Event(), []

    async def act() -> None:
        begun.set()
        await end.wait()
        ended.append("write")

    wanted = asyncio.create_task(one.write("mine", act))
    await begun.wait()
    wanted.cancel()
    closing = asyncio.create_task(closes(one, ended))
    await asyncio.sleep(0)
    assert ended == []
    end.set()
    await closing
    assert ended == ["write", "closed"]
    with pytest.raises(Waiting) as found:
        await one.write("mine", act)
    assert found.value.reason is Reason.DELETING


async def closes(one: Writer, ended: list[str]) -> None:
    await one.close("mine")
    ended.append("closed")
