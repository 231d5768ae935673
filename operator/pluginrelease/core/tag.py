"""Tags: which one a range of versions picks, when to ask the registry again, and what an answer means.

Ranges are npm's (node-semver), which Flux's (Masterminds/semver) are like but for prereleases: a range takes
prereleases of the very version that it names one of, and of no other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import nodesemver

from pluginrelease.core import api, duration, moment, revision
from pluginrelease.core.artifact import TAG
from pluginrelease.core.errors import Refused, Waiting

MAX_TAGS = 20_000  # of one repository
NAMED_TAGS = 10  # how many of those that are there a message names
LATER = 60.0  # seconds: a tag may be pushed later

_NUMBER = "(?:0|[1-9][0-9]{0,15})"
_IDENTIFIER = "(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"v?(?P<version>(?P<numbers>{_NUMBER}\.{_NUMBER}\.{_NUMBER})(?:-(?P<before>{_IDENTIFIER}(?:\.{_IDENTIFIER})*))?)"
)


def pick(repository: str, wanted: str, tags: Iterable[str]) -> str:
    """The tag of the highest version in the range ``wanted``; of ``1.2.3`` and ``v1.2.3`` the former.

    Only tags that are whole versions count: ``1.2`` is a tag that moves. Raises `Refused` (``InvalidSemver``), or
    `Waiting` (``NoMatchingTag``) when there is none.
    """
    span = _span(wanted)
    there = list(tags)
    versions = sorted((tag for tag in there if _VERSION.fullmatch(tag)), key=precedence, reverse=True)
    for tag in versions:
        if span.test(tag.removeprefix("v")):
            return tag
    raise _no_match(repository, wanted, versions, there)


def precedence(tag: str) -> tuple[Any, ...]:
    """Sorts tags that are versions from lowest to highest (semver.org, 11), and ``1.2.3`` above ``v1.2.3``."""
    found = _VERSION.fullmatch(tag)
    assert found is not None  # noqa: S101  only versions have one
    numbers = tuple(int(number) for number in found["numbers"].split("."))
    words = [(0, int(word), "") if word.isdigit() else (1, 0, word) for word in (found["before"] or "").split(".")]
    return numbers, found["before"] is None, words, not tag.startswith("v")


def _span(wanted: str) -> nodesemver.Range:
    """A comma between two comparators is how Flux's users write "and"."""
    plain = " ".join(wanted.replace(",", " ").split())
    try:
        if plain:
            return nodesemver.make_range(plain, loose=False)
    except ValueError:
        pass
    raise Refused(
        "InvalidSemver",
        f"artifact.image.semver is {wanted[:120]!r}, which is no range of versions",
        "Write 1.x, ^1.2, ~1.2.3, >=1.2 <2, 1.2 - 1.4, or several of them parted by ||",
    )


def _no_match(repository: str, wanted: str, versions: list[str], there: list[str]) -> Waiting:
    shown = versions or sorted(there)
    more = f" and {len(shown) - NAMED_TAGS} more" if len(shown) > NAMED_TAGS else ""
    kind = "its versions" if versions else "none of its tags is a version like 1.2.3"
    listed = f"; {kind}: {', '.join(shown[:NAMED_TAGS])}{more}" if shown else "; there are no tags at all"
    return Waiting(
        "NoMatchingTag",
        f"No tag of {repository} is within artifact.image.semver {wanted!r}{listed}",
        f"Push one, or correct the range. It is looked for again every {LATER:.0f} seconds",
        retry_after=LATER,
    )


def read(raw: bytes) -> tuple[str, ...]:
    """The tags in a registry's answer (distribution-spec, "Listing Tags"); some say null where there are none.

    What is no tag is left out, as it could not be asked for. Raises ValueError for what is no such list.
    """
    try:
        answer = json.loads(raw)
        listed = answer["tags"]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("no list of tags") from error
    if not isinstance(listed, list | None):
        raise ValueError("no list of tags")
    return tuple(tag for tag in listed or () if isinstance(tag, str) and TAG.fullmatch(tag))


def too_many(repository: str) -> Refused:
    """The error for a repository with more tags than anybody lists."""
    return Refused(
        "TooManyTags",
        f"{repository} has more than {MAX_TAGS} tags, or their list is longer than the operator reads",
        "Name a tag in artifact.image.ref, or keep the plugin's releases in a repository of their own",
    )


# --- following ---


def wanted(image: api.ImageSource) -> str:
    """What the spec names, for people."""
    return image.ref if image.semver is None else f"{image.ref} within {image.semver}"


def named(image: api.ImageSource, picked: str) -> str:
    """The reference of the tag that was picked."""
    return f"{image.ref}:{picked}"


def is_about(known: api.ArtifactStatus, image: api.ImageSource) -> bool:
    """Whether an artifact is the answer to what the spec names, and not to what it named before."""
    if image.semver is None:
        return known.semver is None and known.ref == image.ref
    return known.semver == image.semver and known.ref.rpartition(":")[0] == image.ref


def next_question(release: api.Release) -> datetime | None:
    """When the registry is to be asked again what the release's reference names; None: not before the spec changes."""
    image, known = release.spec.artifact.image, release.status.artifact
    if image.interval is None or known is None or not is_about(known, image) or known.asked_at is None:
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


def answered(known: api.ArtifactStatus, ref: str, digest: str, asked_at: str) -> api.ArtifactStatus:
    """What is known of the artifact after an answer that was no news: of one image the highest tag may be another."""
    same = {"ref": ref} if known.digest == digest else {}
    return known.model_copy(update={**same, "asked_at": asked_at})
