"""Indexes over watched objects: they find the objects that share a key without reading all others."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Protocol

from pluginrelease.core.apiserver.watching import JSON, Change, Place, place_of

KeysOf = Callable[[JSON], Iterable[Hashable]]


class ChangeIndex(Protocol):
    """A receiver of every change to the objects of one kind."""

    def note(self, change: Change) -> None:
        """Record what a change did to an object."""


class Index:
    """Objects by key; ``keys_of`` reads the keys of an object."""

    def __init__(self, keys_of: KeysOf) -> None:
        self._keys_of = keys_of
        self._found: dict[Hashable, dict[Place, JSON]] = {}

    def note(self, change: Change) -> None:
        """Record what a change did to an object."""
        if change.old is not None:
            self._drop(change.old)
        if change.new is not None:
            for key in self._keys_of(change.new):
                self._found.setdefault(key, {})[place_of(change.new)] = change.new

    def find(self, key: Hashable) -> list[JSON]:
        """Return the objects that have this key."""
        return [*self._found.get(key, {}).values()]

    def _drop(self, thing: JSON) -> None:
        for key in self._keys_of(thing):
            found = self._found.get(key, {})
            found.pop(place_of(thing), None)
            if not found:
                self._found.pop(key, None)
