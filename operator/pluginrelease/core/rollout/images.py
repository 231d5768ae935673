"""Which images must still exist while a release is at rest: the one that runs, and the one for a rollback."""

from __future__ import annotations

from dataclasses import dataclass

from pluginrelease.api import HistoryEntry, HistoryState
from pluginrelease.core import sources
from pluginrelease.core.artifact.image_manifests import Digest, find_repository
from pluginrelease.core.rollout import decisions
from pluginrelease.core.rollout.facts import EntryView, Facts


@dataclass(frozen=True)
class KeptImage:
    """The image of a revision, as ``repository@digest``. ``runs``: gateways run it now."""

    revision: str
    image: str
    runs: bool = True


def is_at_rest(facts: Facts) -> bool:
    """Return True if the wanted revision runs everywhere and nothing rolls back.

    Then no other step asks the registry.
    """
    return decisions.has_succeeded(facts.rollout)


def list_kept(entry: EntryView) -> list[KeptImage]:
    """Return the images of one entry whose gateways are checked."""
    candidate = entry.entry.carried
    if candidate is None:
        return []
    runs = KeptImage(candidate.revision, candidate.artifact.image)
    earlier = find_earlier(entry, candidate.artifact.digest)
    return [runs, earlier] if earlier is not None else [runs]


def find_earlier(entry: EntryView, digest: str) -> KeptImage | None:
    """Return the image for a rollback: of the newest other revision that ran everywhere; None if there is none."""
    ran = (
        known
        for known in entry.release.status.history
        if known.state is HistoryState.SUPERSEDED and known.digest != digest
    )
    newest = max(ran, key=lambda known: known.number, default=None)
    return name_image(newest) if newest is not None else None


def name_image(known: HistoryEntry) -> KeptImage | None:
    """Return the image of a revision in the history; None if its reference has another form."""
    if sources.split_download(known.ref) is not None:
        return KeptImage(known.revision, known.ref, runs=False)
    repository = find_repository(known.ref)
    if repository is None:
        return None
    return KeptImage(known.revision, f"{repository}@{Digest.parse(known.digest)}", runs=False)
