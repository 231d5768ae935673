"""What events and listings change in what is known, and how a watch is cut into lines."""

from __future__ import annotations

from typing import Any

import pytest

from pluginrelease.core.apiserver import watching
from pluginrelease.core.apiserver.watching import Change, LineSplitter, LineTooLong

JSON = dict[str, Any]


def thing(name: str, version: str, uid: str = "u") -> JSON:
    return {"metadata": {"namespace": "n", "name": name, "uid": f"{uid}-{name}", "resourceVersion": version}}


def known(*things: JSON) -> dict[watching.Place, JSON]:
    return {watching.place_of(item): item for item in things}


# reason, the version that is known (None: none), the one that comes, is it taken
TAKING: list[tuple[str, str | None, str, bool]] = [
    ("it is new", None, "5", True),
    ("it is newer", "5", "6", True),
    ("more digits are a larger number", "9", "10", True),
    ("it is what was written by ourselves", "5", "5", False),
    ("an older event comes after the answer of our own write", "9", "8", False),
    ("versions that are no numbers count as newer", "a9", "a8", True),
]


@pytest.mark.parametrize(("reason", "before", "now", "taken"), TAKING, ids=[row[0] for row in TAKING])
def test_an_older_event_never_replaces_what_was_written(reason: str, before: str | None, now: str, taken: bool) -> None:
    """What this process read or wrote last counts until something newer comes."""
    there = known(thing("a", before)) if before else {}
    assert (watching.take(there, thing("a", now)) is not None) is taken, reason


def test_an_object_that_was_made_anew_is_another() -> None:
    """The end of an object that was deleted and made anew does not take the new one away."""
    there = known(thing("a", "7", uid="new"))
    assert watching.lose(there, thing("a", "6", uid="old")) is None
    assert watching.lose(there, thing("b", "6")) is None
    assert watching.lose(there, thing("a", "8", uid="new")) == Change(thing("a", "7", uid="new"), None)


def test_a_listing_is_the_whole_truth_of_its_time() -> None:
    """What is not listed is gone, unless it was written after the listing; what is listed older is not taken."""
    there = known(thing("same", "3"), thing("gone", "4"), thing("written since", "12"), thing("changed", "5"))
    listed = [thing("same", "3"), thing("changed", "9"), thing("new", "8")]
    assert watching.compare(there, listed, "10") == [
        Change(thing("changed", "5"), thing("changed", "9")),
        Change(None, thing("new", "8")),
        Change(thing("gone", "4"), None),
    ]
    assert watching.compare(there, [thing("written since", "11")], "11")[0] == Change(thing("same", "3"), None)


@pytest.mark.parametrize(
    ("pieces", "lines", "is_between"),
    [
        ([b"one\ntwo\n"], [b"one", b"two"], True),
        ([b"o", b"ne", b"\nt", b"wo\n"], [b"one", b"two"], True),
        ([b"one\n\n\ntwo\n"], [b"one", b"two"], True),
        ([b"one\ntw"], [b"one"], False),
        ([], [], True),
    ],
)
def test_lines_are_put_together(pieces: list[bytes], lines: list[bytes], is_between: bool) -> None:
    """Wherever a stream is cut into pieces, its lines come out whole; what is left over at the end was cut off."""
    splitter = LineSplitter()
    assert [line for piece in pieces for line in splitter.feed(piece)] == lines
    assert splitter.is_between_lines is is_between


def test_a_long_line() -> None:
    """A line of 3 MiB is taken, as an object may be so large; a longer one ends the stream before it fills memory."""
    splitter, piece = LineSplitter(), b"x" * 2**16
    for _ in range(48):
        assert splitter.feed(piece) == []
    assert splitter.feed(b"\nnext\n") == [piece * 48, b"next"]
    for _ in range(48):
        splitter.feed(piece)
    with pytest.raises(LineTooLong):
        splitter.feed(b"y")
