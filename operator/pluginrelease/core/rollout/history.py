"""``status.history``: the revisions that were written to the gateways, newest first, and their outcomes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pluginrelease import api
from pluginrelease.api import HistoryEntry, HistoryState, times
from pluginrelease.core import revision


@dataclass(frozen=True)
class Deployed:
    """The revision that the gateways should run because of the spec, or because a user asked for an old one."""

    revision: str
    number: int
    ref: str
    digest: str


def is_noted(entries: Iterable[HistoryEntry], revision: str) -> bool:
    """Return True if the newest entry is this revision's, so that nothing about it must be read again."""
    newest = next(iter(entries), None)
    return newest is not None and newest.revision == revision


def returns(release: api.Release) -> bool:
    """Return True if the spec wants a revision that has run everywhere, and wanted another one before.

    It is known by the digest that its reference had then; a tag that moved makes it another revision.
    """
    ran = [entry for entry in release.status.history if entry.state in (HistoryState.STABLE, HistoryState.SUPERSEDED)]
    wanted = (entry.revision == revision.compute_identity(release.spec, entry.digest) for entry in ran)
    before = release.status.target_revision
    return any(is_it and entry.revision != before for is_it, entry in zip(wanted, ran, strict=True))


def update(
    entries: Sequence[HistoryEntry],
    *,
    deployed: Deployed | None,
    stable: str | None,
    failure: api.RolloutFailure | None,
    limit: int,
    now: datetime,
    watched: Collection[str] = (),
) -> list[HistoryEntry]:
    """Return the history after a pass.

    It keeps ``limit`` old revisions, and the newest, the stable one, and those that a failure would restore
    (``watched``).
    """
    entries = add_deployed(entries, deployed, now) if deployed else list(entries)
    told = [conclude(entry, entries[0].revision, stable, failure) for entry in entries]
    needed = {entry.revision for entry in told[:1]} | {stable} | set(watched)
    old = [entry.revision for entry in told if entry.revision not in needed][:limit]
    return [entry for entry in told if entry.revision in needed or entry.revision in old]


def add_deployed(entries: Iterable[HistoryEntry], deployed: Deployed, now: datetime) -> list[HistoryEntry]:
    """Return the history with the deployed revision first. A revision that was deployed before keeps its first time."""
    before = {entry.revision: entry for entry in entries}
    known = before.pop(deployed.revision, None)
    newest = HistoryEntry(
        revision=deployed.revision,
        number=deployed.number,
        state=HistoryState.DEPLOYING,
        ref=deployed.ref,
        digest=deployed.digest,
        first_deployed=known.first_deployed if known else times.to_seconds(now),
        last_deployed=known.last_deployed if known and known.number == deployed.number else times.to_seconds(now),
    )
    return [newest, *before.values()]


def conclude(entry: HistoryEntry, newest: str, stable: str | None, failure: api.RolloutFailure | None) -> HistoryEntry:
    """Return one revision with its outcome."""
    if failure is not None and entry.revision == failure.revision:
        return entry.model_copy(update={"state": HistoryState.FAILED, "reason": failure.reason})
    if entry.revision == stable:
        return entry.model_copy(update={"state": HistoryState.STABLE, "reason": None})
    if entry.state is HistoryState.STABLE:
        return entry.model_copy(update={"state": HistoryState.SUPERSEDED})
    if entry.state is HistoryState.DEPLOYING and entry.revision != newest:
        return entry.model_copy(update={"state": HistoryState.ABORTED})
    return entry
