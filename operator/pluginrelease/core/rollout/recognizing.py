"""Recognize what an entry's object contains already, without asking a registry."""

from __future__ import annotations

from collections.abc import Collection

from pluginrelease import api
from pluginrelease.core.rollout import settled
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.rollout.decisions import Goal
from pluginrelease.core.rollout.facts import EntryView, Facts
from pluginrelease.core.rollout.release_results import Recognized


def recognize(facts: Facts, names: Collection[str]) -> Recognized:
    """Return the entries whose objects are already as they should be."""
    found = {entry.name: find_converged(entry) for entry in facts.views(names)}
    return Recognized({name: candidate for name, candidate in found.items() if candidate is not None})


def find_converged(entry: EntryView) -> Candidate | None:
    """Return the candidate if the entry's object is as it wants; nothing needs to be fetched or checked."""
    known, observed = entry.noted, entry.entry.carrier
    if observed is None or known is None:
        return None
    candidate = recall_candidate(entry)
    if candidate is None or candidate.revision != known.revision:
        return None
    return candidate if entry.drafted(candidate, observed).converged else None


def recall_candidate(entry: EntryView) -> Candidate | None:
    """Return the candidate without asking a registry, if that is possible."""
    if entry.intent.goal is Goal.REVISION:
        return entry.recalled(entry.facts.kept) if entry.facts.kept is not None else None
    known = find_pinned(entry.facts)
    if (
        known is None
        or not entry.placement().is_filled
        or not settled.checks_still_valid(entry.release, has_pods=entry.entry.has_pods)
    ):
        return None
    if entry.release.spec.artifact.verify is None:  # the signer is reported only while the spec asks for one
        known = known.model_copy(update={"signer": None, "policy": None})
    return Candidate(entry.placement(), known)


def find_pinned(facts: Facts) -> api.ArtifactStatus | None:
    """Return the stored digest of the reference, unless a user asked for another try."""
    return None if facts.retry else settled.find_pinned(facts.release)


def find_pinned_as(entry: EntryView, revision: str) -> Candidate | None:
    """Return the candidate of this revision if the reference's stored digest makes it; else None."""
    known, placement = settled.find_pinned(entry.release), entry.placement()
    candidate = Candidate(placement, known) if known is not None and placement.is_filled else None
    return candidate if candidate is not None and candidate.revision == revision else None
