"""Tags: which one a range of versions selects, when to ask the registry again, and what an answer means.

Ranges are npm's (node-semver). Flux's (Masterminds/semver) differ for prereleases only: a range takes prereleases of a
version only if it names a prerelease of that very version.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import nodesemver

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core import revision, sources
from pluginrelease.core.artifact.image_manifests import TAG
from pluginrelease.core.errors import Refused, Waiting

MAX_TAGS = 20_000  # of one repository
NAMED_TAGS = 10  # how many of the existing ones a message names
LATER = 60.0  # seconds: a tag may be pushed later

_NUMBER = "(?:0|[1-9][0-9]{0,15})"
_IDENTIFIER = "(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"v?(?P<version>(?P<numbers>{_NUMBER}\.{_NUMBER}\.{_NUMBER})(?:-(?P<before>{_IDENTIFIER}(?:\.{_IDENTIFIER})*))?)"
)


@dataclass(frozen=True)
class Listed:
    """Tags of a repository. ``whole`` False: there may be more, and the registry offers no way to list them."""

    tags: tuple[str, ...]
    whole: bool = True


def pick(repository: str, wanted: str, tags: Iterable[str], *, whole: bool = True, seen: str | None = None) -> str:
    """Return the tag of the highest version in the range ``wanted``; of ``1.2.3`` and ``v1.2.3`` the former.

    Only tags that are complete versions count, because a tag like ``1.2`` moves. ``whole``: the list is complete.
    ``seen``: a tag that is known to have existed. Raises `Refused` (``InvalidSemver``; ``TagListIncomplete`` if the
    list lacks a higher tag that was seen), or `Waiting` (``NoMatchingTag``) if there is none.
    """
    span = _span(wanted)
    there = list(tags)
    versions = sorted((tag for tag in there if _VERSION.fullmatch(tag)), key=sort_key, reverse=True)
    picked = next((tag for tag in versions if span.test(tag.removeprefix("v"))), None)
    if not whole and seen is not None and _VERSION.fullmatch(seen) and span.test(seen.removeprefix("v")):
        _check_no_downgrade(repository, wanted, picked, seen)
    if picked is None:
        raise _no_match(repository, wanted, versions, Listed(tuple(there), whole))
    return picked


def _check_no_downgrade(repository: str, wanted: str, picked: str | None, seen: str) -> None:
    """Refuse to pick a lower tag from a list that may be cut: it does not prove that a version is gone."""
    if picked is not None and sort_key(picked) >= sort_key(seen):
        return
    instead = f"the highest version within {wanted!r} in it is {picked}" if picked else f"it has none within {wanted!r}"
    raise Refused(
        Reason.TAG_LIST_INCOMPLETE,
        f"{describe_cut(repository)}: {instead}, and {seen} was there before",
        f"{PAGING}, or name the tag in artifact.image.ref",
    )


def describe_cut(repository: str) -> str:
    """Describe a list that may lack tags."""
    return f"The registry's list of the tags of {repository} may be cut, and no Link leads to the rest"


def describe_doubt(repository: str, picked: str) -> str:
    """Describe a tag that was picked from such a list."""
    return f"{describe_cut(repository)}; {picked} is the highest version in it. {PAGING}"


PAGING = "Let the registry, or the proxy before it, page its lists as the OCI distribution spec says"


def sort_key(tag: str) -> tuple[Any, ...]:
    """Return a sort key for tags that are versions, lowest first (semver.org, 11), and ``1.2.3`` above ``v1.2.3``."""
    found = _VERSION.fullmatch(tag)
    assert found is not None  # noqa: S101  only versions have one
    numbers = tuple(int(number) for number in found["numbers"].split("."))
    words = [(0, int(word), "") if word.isdigit() else (1, 0, word) for word in (found["before"] or "").split(".")]
    return numbers, found["before"] is None, words, not tag.startswith("v")


def _span(wanted: str) -> nodesemver.Range:
    """Read a range. Flux's users write a comma between two comparators for "and"."""
    plain = " ".join(wanted.replace(",", " ").split())
    try:
        if plain:
            return nodesemver.make_range(plain, loose=False)
    except ValueError:
        pass
    raise Refused(
        Reason.INVALID_SEMVER,
        f"artifact.image.semver is {wanted[:120]!r}, which is no range of versions",
        "Write 1.x, ^1.2, ~1.2.3, >=1.2 <2, 1.2 - 1.4, or several of them separated by ||",
    )


def _no_match(repository: str, wanted: str, versions: list[str], found: Listed) -> Waiting:
    shown = versions or sorted(found.tags)
    more = f" and {len(shown) - NAMED_TAGS} more" if len(shown) > NAMED_TAGS else ""
    kind = "its versions" if versions else "none of its tags is a version like 1.2.3"
    listed = f"; {kind}: {', '.join(shown[:NAMED_TAGS])}{more}" if shown else "; there are no tags at all"
    doubt = "" if found.whole else f". {describe_cut(repository)}"
    return Waiting(
        Reason.NO_MATCHING_TAG,
        f"No tag of {repository} is within artifact.image.semver {wanted!r}{listed}{doubt}",
        f"Push one, or correct the range. The operator checks again every {LATER:.0f} seconds",
        retry_after=LATER,
    )


@dataclass(frozen=True)
class Page:
    """One page of a list: its tags, its number of names, its bytes, and the query of its Link, None without a Link."""

    tags: tuple[str, ...]
    count: int
    size: int
    link: str | None = None


def read_page(raw: bytes, link: str | None = None) -> Page:
    """Read a registry's answer (distribution-spec, "Listing Tags"). Some registries answer null for no tags.

    Names that are not valid tags are left out, because they could not be requested. Raises ValueError for another
    document.
    """
    try:
        answer = json.loads(raw)
        listed = answer["tags"]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("no list of tags") from error
    if not isinstance(listed, list | None):
        raise ValueError("no list of tags")
    names = listed or []
    tags = tuple(tag for tag in names if isinstance(tag, str) and TAG.fullmatch(tag))
    return Page(tags, len(names), len(raw), link)


@dataclass(frozen=True)
class NextPage:
    """The query of the next page. ``guessed``: there was no Link."""

    query: str
    guessed: bool = False


class ListEnd(Enum):
    """The list has ended. Cut: perhaps too early."""

    WHOLE = "Whole"
    CUT = "Cut"


def find_next_page(page: Page, known: Collection[str], most: int) -> NextPage | ListEnd:
    """Return the next page to request.

    ``known`` are the tags of earlier pages; ``most`` is the page size that was requested.

    A full page without a Link need not be the last one: some registries send no Link (sonatype/nexus-public#209). A
    page without new tags ends every list.
    """
    is_full = page.count == most
    if page.link is None and not is_full:
        return ListEnd.WHOLE
    if page.tags and not set(page.tags) - set(known):
        return ListEnd.CUT
    if page.link:
        return NextPage(page.link)
    if not page.tags:
        return ListEnd.CUT
    return NextPage(f"n={most}&last={page.tags[-1]}", guessed=page.link is None)


def refuse_too_many(repository: str) -> Refused:
    """Return the error for a repository with more tags than the limit."""
    return Refused(
        Reason.TOO_MANY_TAGS,
        f"{repository} has more than {MAX_TAGS} tags, or their list is longer than the operator reads",
        "Name a tag in artifact.image.ref, or keep the plugin's releases in a repository of their own",
    )


# --- following ---


def describe_wanted(image: api.ImageSource) -> str:
    """Describe what the spec names."""
    return image.ref if image.semver is None else f"{image.ref} within {image.semver}"


def with_tag(image: api.ImageSource, picked: str) -> str:
    """Return the reference with the tag that was picked."""
    return f"{image.ref}:{picked}"


def is_about(known: api.ArtifactStatus, image: api.ImageSource) -> bool:
    """Return True if an artifact belongs to what the spec names now, and not to what it named before."""
    if image.semver is None:
        return known.semver is None and known.ref == image.ref
    return known.semver == image.semver and known.ref.rpartition(":")[0] == image.ref


def find_settled_tag(known: api.ArtifactStatus | None, image: api.ImageSource) -> str | None:
    """Return the tag of this repository that the release used last."""
    if known is None:
        return None
    repository, _, picked = known.ref.rpartition(":")
    return picked if repository == image.ref else None


def find_next_poll(release: api.Release) -> datetime | None:
    """Return when to ask the registry again what the release's reference names.

    None: not before the spec changes or a user switches the release on.
    """
    image, known = sources.find_image(release.spec.artifact), release.status.artifact
    if release.status.switched_off is not None:
        return None
    if image.interval is None or known is None or not is_about(known, image) or known.asked_at is None:
        return None
    return known.asked_at + image.interval


def is_due(release: api.Release, now: datetime) -> bool:
    """Return True if the registry must be asked now."""
    due = find_next_poll(release)
    return due is not None and now >= due


def is_news(release: api.Release, digest: str) -> bool:
    """Return True if the digest that the tag names now must be rolled out: it is new, and not the one that failed."""
    known, rollout = release.status.artifact, release.status.rollout
    failure = rollout.failure if rollout else None
    config = rollout.config_digest if rollout else None
    failed = failure is not None and failure.revision == revision.compute_identity(release.spec, digest, config)
    return known is not None and known.digest != digest and not failed


def update_artifact(known: api.ArtifactStatus, ref: str, digest: str, asked_at: datetime) -> api.ArtifactStatus:
    """Return the artifact's status after an answer without news. The same image may now have a higher tag."""
    same = {"ref": ref} if known.digest == digest else {}
    return known.model_copy(update={**same, "asked_at": asked_at})
