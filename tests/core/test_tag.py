"""A range picks the highest version; a tag that is followed is asked for when its time has come; what failed is not
tried again."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import nodesemver
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.core import revision
from pluginrelease.core.errors import Refused, Waiting
from pluginrelease.core.registry import tags
from tests.harness.releases import ARTIFACT, DIGEST, release

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
OTHER = "sha256:" + "cd" * 32


def followed(interval: str | None, asked: datetime | None, **more: object) -> api.Release:
    """A release whose tag was asked for at this time."""
    artifact = ARTIFACT.model_copy(update={"asked_at": times.to_seconds(asked) if asked else None})
    image = {"ref": ARTIFACT.ref, **({"interval": interval} if interval else {})}
    found = release(spec__artifact={"image": image})
    return found.model_copy(update={"status": api.Status(artifact=artifact, **more)})


@pytest.mark.parametrize(
    ("interval", "asked", "due", "reason"),
    [
        (None, NOW - timedelta(days=9), False, "a tag that is not followed is asked for once"),
        ("5m", NOW - timedelta(minutes=4, seconds=59), False, "its time has not come"),
        ("5m", NOW - timedelta(minutes=5), True, "its time has come"),
        ("5m", None, False, "what was never asked is asked by the rollout itself"),
        ("5m", NOW + timedelta(days=1), False, "a clock that was set back waits, and asks for nothing too often"),
    ],
)
def test_when_a_tag_is_asked_for_again(interval: str | None, asked: datetime | None, due: bool, reason: str) -> None:
    """Every interval, from the last answer on."""
    assert tags.is_due(followed(interval, asked), NOW) is due, reason


def test_another_reference_is_not_this_ones_question() -> None:
    """A spec that names another image now is asked for by its rollout."""
    old = followed("5m", NOW - timedelta(hours=1))
    image = old.spec.artifact.image.model_copy(update={"ref": "registry.example.com/other:1"})
    spec = old.spec.model_copy(update={"artifact": old.spec.artifact.model_copy(update={"image": image})})
    assert not tags.is_due(old.model_copy(update={"spec": spec}), NOW)


def test_what_is_news() -> None:
    """Another digest is rolled out; the same one, and the one that failed, are not."""
    known = followed("5m", NOW)
    assert tags.is_news(known, OTHER)
    assert not tags.is_news(known, DIGEST)
    failure = api.RolloutFailure(
        revision=revision.compute_identity(known.spec, OTHER),
        reason="PluginRejected",
        message="no",
        at=times.to_seconds(NOW),
    )
    rollout = api.RolloutStatus(spec_hash="h", started_at=times.to_seconds(NOW), failure=failure)
    assert not tags.is_news(followed("5m", NOW, rollout=rollout), OTHER)


# --- ranges ---

TAGS = (
    *("latest", "1", "1.2", "v1", "main-1.9.0", "20260101", "01.9.9", "1.9.9-01", "1.9.9.9"),
    *("0.2.3", "0.3.0", "1.0.0", "1.2.0-rc.2", "1.2.0-rc.10", "1.2.0", "1.2.3", "1.10.0", "1.11.0-beta.1"),
    *("2.0.0-rc.1", "v2.0.0", "2.0.1", "v2.0.1", "v2.1.0", "3.0.0-alpha"),
)


@pytest.mark.parametrize(
    ("wanted", "picked", "reason"),
    [
        ("1.x", "1.10.0", "by number and not by letter"),
        ("1", "1.10.0", "what is left out may be anything"),
        ("1.2", "1.2.3", "so may the last number"),
        ("1.2.*", "1.2.3", "a star is an x"),
        ("^1.0", "1.10.0", "up to the next major version"),
        ("~1.2", "1.2.3", "up to the next minor version"),
        ("~> 1.2.0", "1.2.3", "as Ruby writes it"),
        ("^0.2.1", "0.2.3", "before 1.0 every minor version may break"),
        (">=1.2 <2", "1.10.0", "both must hold"),
        (">= 1.2.0 < 2.0.0", "1.10.0", "spaces after the signs"),
        (">=1.2, <2", "1.10.0", "the comma of Flux's users"),
        ("1.0 - 1.2", "1.2.3", "from, to, and all of the last"),
        ("<1 || >=2.1", "v2.1.0", "either"),
        ("*", "v2.1.0", "whatever is released"),
        ("2.0.x", "2.0.1", "of one version with and without v the one without"),
        ("2.0.0", "v2.0.0", "a v before the version is none of it"),
        ("1.2.0-rc.2 - 1.2.0-rc.99", "1.2.0-rc.10", "a prerelease that the range names, by number"),
        (">=2.0.0-0 <2.0.0", "2.0.0-rc.1", "prereleases of the version that is named"),
        (">=1.2.0-0 <1.11.0", "1.10.0", "and of no other: 1.11.0-beta.1 is less than 1.11.0, too"),
        ("^3.0.0-0", "3.0.0-alpha", "a major version that has nothing else yet"),
    ],
)
def test_a_range_picks_the_highest(wanted: str, picked: str, reason: str) -> None:
    """The highest version within the range, whatever else there is in the repository."""
    assert tags.pick("r.example.com/auth", wanted, TAGS) == picked, reason
    assert tags.pick("r.example.com/auth", wanted, reversed(TAGS)) == picked, "whatever the order of the list"


@pytest.mark.parametrize(
    ("wanted", "listed", "named"),
    [
        ("4.x", TAGS, "3.0.0-alpha, v2.1.0, 2.0.1, v2.0.1,"),
        ("3.x", TAGS, "3.0.0-alpha"),
        ("1.x", ("2.0.0",), "2.0.0"),
        ("1.x", ("latest", "1.2"), "1.2, latest"),
        ("1.x", (), "no tags"),
    ],
)
def test_nothing_within_the_range(wanted: str, listed: tuple[str, ...], named: str) -> None:
    """It is said which range, and some of the tags that there are, highest first; and it is looked for again."""
    with pytest.raises(Waiting) as raised:
        tags.pick("r.example.com/auth", wanted, listed)
    assert raised.value.reason == "NoMatchingTag"
    assert named in raised.value.message
    assert repr(wanted) in raised.value.message
    assert "r.example.com/auth" in raised.value.message
    assert len(raised.value.message) < 400


@pytest.mark.parametrize("wanted", ["", " ", "latest", "1.2.3.4", "01.2", ">", "1.2.3-", "!=1.2", "1.x ||| 2.x", "~^1"])
def test_no_range(wanted: str) -> None:
    """What is no range is refused with examples, and never taken for one that nothing is in."""
    with pytest.raises(Refused) as raised:
        tags.pick("r.example.com/auth", wanted, TAGS)
    assert raised.value.reason == "InvalidSemver"
    assert ">=1.2 <2" in raised.value.remedy


@given(some.text("0123xX*.-~^<>=|, vra+", max_size=128), some.lists(some.text("0129.v-a", max_size=20), max_size=5))
def test_any_text_is_a_range_or_none(wanted: str, listed: list[str]) -> None:
    """Whatever a release or a registry says: a tag that is there, or one of the refusals, and at once."""
    began = time.monotonic()
    with suppress(Refused, Waiting):
        assert tags.pick("r/a", wanted, listed) in listed
    assert time.monotonic() - began < 0.5


NUMBERS = some.integers(0, 12).map(str) | some.just("9999999999999999")
WORDS = some.lists(some.sampled_from(["0", "1", "2", "10", "rc", "rc1", "a-b", "-", "B"]), min_size=1, max_size=3)
VERSIONS = some.builds(
    lambda numbers, words: ".".join(numbers) + (f"-{'.'.join(words)}" if words else ""),
    some.lists(NUMBERS, min_size=3, max_size=3),
    some.none() | WORDS,
)


@given(VERSIONS, VERSIONS)
@settings(deadline=None)
def test_which_of_two_versions_is_higher(one: str, other: str) -> None:
    """The order is that of the library, which the ranges go by."""
    expected = nodesemver.compare(one, other, loose=False)
    mine, theirs = tags.sort_key(one), tags.sort_key(other)
    assert (mine > theirs) - (mine < theirs) == expected


def test_a_large_repository_takes_no_time() -> None:
    """A release may ask every few seconds, and shares the operator with others."""
    many = [f"1.{minor}.{patch}" for minor in range(200) for patch in range(100)]
    began = time.process_time()
    assert tags.pick("r/a", ">=1.0 <1.5 || 1.x", many) == "1.199.99"
    assert time.process_time() - began < 0.6


@pytest.mark.parametrize("hostile", ["1" + " " * 126 + "!", ">" * 128, "1-" * 64, "0." * 64, "~ " * 64, "v= " * 42])
def test_a_hostile_range_is_refused_at_once(hostile: str) -> None:
    """As long as the field may be."""
    began = time.monotonic()
    with pytest.raises((Refused, Waiting)):
        tags.pick("r/a", hostile, ["1.2.3-" + "a-." * 40])
    assert time.monotonic() - began < 0.5


def test_what_a_registry_lists() -> None:
    """A list, or null for none; what could not be a tag is left out, and what is no list is an error."""
    assert tags.read_page(b'{"name":"a","tags":["1.0","a/../b",7,"v2"]}').tags == ("1.0", "v2")
    assert tags.read_page(b'{"tags":null}').tags == ()
    for wrong in (b"", b"[]", b"{}", b'{"tags":"1.0"}', b"[" * 100_000):
        with pytest.raises(ValueError):  # noqa: PT011  the edge tells it in its own words
            tags.read_page(wrong)


def ranged(wanted: str | None, **known: object) -> tuple[api.ImageSource, api.ArtifactStatus]:
    """A spec that names a range of a repository, and what is known of an artifact."""
    image = {"ref": "r.example.com/auth", "semver": wanted} if wanted else {"ref": "r.example.com/auth:1.2.3"}
    artifact = {"ref": "r.example.com/auth:1.2.3", "semver": wanted, **known}
    return api.ImageSource.model_validate(image), ARTIFACT.model_copy(update=artifact)


@pytest.mark.parametrize(
    ("wanted", "known", "about", "reason"),
    [
        ("1.x", {}, True, "the tag that it picked"),
        ("1.x", {"semver": "2.x"}, False, "another range picked it"),
        ("1.x", {"semver": None}, False, "it was named as a tag, and the range may pick another"),
        ("1.x", {"ref": "r.example.com/other:1.2.3"}, False, "it is of another repository"),
        (None, {}, True, "the tag itself"),
        (None, {"semver": "1.x"}, False, "a range picked it; now the tag is named"),
    ],
)
def test_an_artifact_is_about_what_is_named_now(
    wanted: str | None, known: dict[str, object], about: bool, reason: str
) -> None:
    """With another range or repository the registry is asked anew; with the same one what was settled on stays."""
    image, artifact = ranged(wanted, **known)
    assert tags.is_about(artifact, image) is about, reason


def test_a_higher_tag_of_the_same_image() -> None:
    """It is told, and is no news; while what failed stands in the status, its own tag stays."""
    _, known = ranged("1.x")
    same = tags.update_artifact(known, "r.example.com/auth:1.2.4", known.digest, "2026-01-01T12:00:00Z")
    assert (same.ref, same.asked_at) == ("r.example.com/auth:1.2.4", "2026-01-01T12:00:00Z")
    assert tags.update_artifact(known, "r.example.com/auth:1.2.4", OTHER, "2026-01-01T12:00:00Z").ref == known.ref


# --- lists that go on, or break off ---

FULL = tuple(f"1.{number}.0" for number in range(10))


@pytest.mark.parametrize(
    ("listed", "count", "link", "then", "reason"),
    [
        (FULL[:3], 3, None, tags.ListEnd.WHOLE, "a short page is the last one"),
        ((), 0, None, tags.ListEnd.WHOLE, "nothing after what was asked for"),
        (FULL, 11, None, tags.ListEnd.WHOLE, "a registry that heeds no number gives all at once"),
        (
            FULL[:3],
            3,
            "last=x&n=3",
            tags.NextPage("last=x&n=3"),
            "a registry that gives fewer, and says how it goes on",
        ),
        (FULL, 10, "next_page=abc", tags.NextPage("next_page=abc"), "how it goes on is the registry's own affair"),
        ((), 0, "last=x", tags.NextPage("last=x"), "an empty page need not be the last one"),
        (FULL, 10, "", tags.NextPage("n=10&last=1.9.0"), "a Link without a query leads nowhere else"),
        (FULL, 10, None, tags.NextPage("n=10&last=1.9.0", guessed=True), "a full page without a Link may be cut"),
        (("0.0.1",), 10, None, tags.ListEnd.CUT, "the same page again: what comes after it cannot be had"),
        (("0.0.1",), 1, "last=0.0.1", tags.ListEnd.CUT, "a Link in a circle"),
        ((), 10, None, tags.ListEnd.CUT, "a full page of what are no tags"),
    ],
)
def test_how_a_list_goes_on(listed: tuple[str, ...], count: int, link: str | None, then: object, reason: str) -> None:
    """By the registry's Link; without one after a full page by the last tag; no further once nothing new comes."""
    assert tags.find_next_page(tags.Page(listed, count, 0, link), {"0.0.1"}, 10) == then, reason


@pytest.mark.parametrize(
    ("wanted", "seen", "picked", "reason"),
    [
        (">=1.0.0", None, "1.9.0", "a first one: the highest that is known"),
        (">=1.0.0", "1.5.0", "1.9.0", "it goes up"),
        (">=1.0.0", "1.9.0", "1.9.0", "it stays"),
        (">=1.0.0", "9.0.0", "", "it would go down"),
        (">=9", "9.0.0", "", "the one that runs is not in the list"),
        ("1.x", "9.0.0", "1.9.0", "the range wants an older one now"),
        (">=1.0.0", "latest", "1.9.0", "what was there was no version"),
    ],
)
def test_a_list_that_may_be_cut(wanted: str, seen: str | None, picked: str, reason: str) -> None:
    """That a version is missing from it is no proof that it is gone: nothing is taken back to an older one for that."""
    if picked:
        assert tags.pick("r.example.com/auth", wanted, FULL, whole=False, seen=seen) == picked, reason
        return
    with pytest.raises(Refused) as raised:
        tags.pick("r.example.com/auth", wanted, FULL, whole=False, seen=seen)
    assert raised.value.reason == "TagListIncomplete", reason
    assert "9.0.0" in raised.value.message


def test_a_whole_list_may_go_down() -> None:
    """Who deletes a tag goes back to the one before it."""
    assert tags.pick("r.example.com/auth", ">=1.0.0", FULL, seen="9.0.0") == "1.9.0"


def test_nothing_within_the_range_of_a_list_that_may_be_cut() -> None:
    """Whoever looks for a tag that is there is told that the list may lack it."""
    with pytest.raises(Waiting) as raised:
        tags.pick("r.example.com/auth", ">=2", FULL, whole=False)
    assert "may be cut" in raised.value.message


@pytest.mark.parametrize(
    ("known", "ref", "seen"),
    [
        ("r.example.com/auth:1.0.0", "r.example.com/auth", "1.0.0"),
        ("r.example.com:5000/auth:1.0.0", "r.example.com:5000/auth", "1.0.0"),
        ("r.example.com/other:1.0.0", "r.example.com/auth", None),
    ],
)
def test_what_was_seen_before(known: str, ref: str, seen: str | None) -> None:
    """Only a tag of the same repository counts, whatever range picked it."""
    image = api.ImageSource.model_validate({"ref": ref, "semver": "1.x"})
    assert tags.find_settled_tag(ARTIFACT.model_copy(update={"ref": known}), image) == seen
    assert tags.find_settled_tag(None, image) is None
