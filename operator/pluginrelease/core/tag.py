"""Following a tag: when to ask for it again, and what an answer means."""

from __future__ import annotations

from datetime import datetime

from pluginrelease.core import api, duration, moment, revision


def next_question(release: api.Release) -> datetime | None:
    """When the registry is to be asked again what the release's reference names; None: not before the spec changes."""
    image, known = release.spec.artifact.image, release.status.artifact
    if image.interval is None or known is None or known.ref != image.ref or known.asked_at is None:
        return None
    return moment.read(known.asked_at) + duration.parse(image.interval)


def is_due(release: api.Release, now: datetime) -> bool:
    """Whether it is to be asked now."""
    due = next_question(release)
    return due is not None and now >= due


def is_news(release: api.Release, digest: str) -> bool:
    """Whether a digest that the tag names now is to be rolled out: it is another one, and not the one that failed."""
    known, rollout = release.status.artifact, release.status.rollout
    failure = rollout.failure if rollout else None
    failed = failure is not None and failure.revision == revision.identity(release.spec, digest)
    return known is not None and known.digest != digest and not failed
