"""Compute what an event or a listing changes in a set of known objects. Pure functions.

Versions are numbers that grow (KEP-5504 guarantees what every API server has done so far). A version that is no number,
for example of an aggregated API server, counts as newer than any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

JSON = dict[str, Any]
Place = tuple[str, str]

# of one line of a watch: etcd takes objects of 1.5 MiB, and JSON with managedFields is larger
LINE_LIMIT = 3 * 1024 * 1024


class LineTooLong(Exception):
    """A line does not end within `LINE_LIMIT` bytes."""


class LineSplitter:
    """Splits the pieces of a stream into lines, without line ends."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._begun: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Add a piece; return the lines that end in it. Raises `LineTooLong`."""
        *ended, rest = piece.split(b"\n")
        lines = []
        for part in ended:
            lines.append(self._join(part))
            self._begun, self._size = [], 0
        if rest:
            self._check(len(rest))
            self._begun.append(rest)
        return [line for line in lines if line]

    @property
    def is_between_lines(self) -> bool:
        """Return True if no line was begun: a stream that ends now was not cut."""
        return not self._begun

    def _join(self, part: bytes) -> bytes:
        self._check(len(part))
        return b"".join([*self._begun, part])

    def _check(self, more: int) -> None:
        self._size += more
        if self._size > self._limit:
            raise LineTooLong


@dataclass(frozen=True)
class Change:
    """One object before and after a change; None: it did not exist, or exists no longer."""

    old: JSON | None
    new: JSON | None


def place_of(thing: JSON) -> Place:
    """Return namespace and name; the namespace of a cluster-scoped object is empty."""
    return thing["metadata"].get("namespace", ""), thing["metadata"]["name"]


def version_of(thing: JSON) -> str:
    """Return the object's resourceVersion."""
    return str(thing["metadata"].get("resourceVersion", ""))


def is_newer(version: str, than: str) -> bool:
    """Return True if a version is later than another."""
    if version.isdecimal() and than.isdecimal():
        return int(version) > int(than)
    return version != than


def take(known: Mapping[Place, JSON], found: JSON) -> Change | None:
    """Return the change that an object makes which was read, written or watched.

    None: the same or a newer one is known.
    """
    old = known.get(place_of(found))
    if old is not None and not is_newer(version_of(found), version_of(old)):
        return None
    return Change(old, found)


def lose(known: Mapping[Place, JSON], gone: JSON) -> Change | None:
    """Return the change that a deletion makes; None if the object is not known, or was created again since."""
    old = known.get(place_of(gone))
    if old is None or old["metadata"]["uid"] != gone["metadata"]["uid"]:
        return None
    return Change(old, None)


def compare(known: Mapping[Place, JSON], listed: Iterable[JSON], version: str) -> list[Change]:
    """Return the changes that a complete listing makes. ``version`` is the resourceVersion of the list.

    A known object that is newer than the listing is kept: it was written since.
    """
    found = {place_of(thing): thing for thing in listed}
    changes = [change for thing in found.values() if (change := take(known, thing)) is not None]
    gone = [thing for place, thing in known.items() if place not in found and not is_newer(version_of(thing), version)]
    return [*changes, *(Change(thing, None) for thing in gone)]
