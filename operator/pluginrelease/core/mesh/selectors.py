"""Find which owners select the same gateway pods, without comparing each selector with every other one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from pluginrelease.core.mesh.target import Pods

# an owner, and which of its selectors
Member = tuple[str, int]
Keys = tuple[str, ...]
Values = tuple[str, ...]


@dataclass
class SelectorGroup:
    """Selectors of one namespace and container that use the same label keys.

    ``by``: some of the keys → values → owners.

    ``by`` has one entry for each set of keys that was looked up.
    """

    keys: frozenset[str]
    labels: dict[Member, dict[str, str]] = field(default_factory=dict)
    by: dict[Keys, dict[Values, set[Member]]] = field(default_factory=dict)

    def put(self, member: Member, labels: dict[str, str]) -> None:
        """Add a selector."""
        self.labels[member] = labels
        for keys, found in self.by.items():
            found.setdefault(values_of(labels, keys), set()).add(member)

    def drop(self, member: Member) -> None:
        """Remove a selector."""
        labels = self.labels.pop(member)
        for keys, found in self.by.items():
            values = values_of(labels, keys)
            found[values].discard(member)
            if not found[values]:
                del found[values]

    def find(self, labels: dict[str, str]) -> Collection[Member]:
        """Return the selectors that do not contradict these labels."""
        keys = tuple(sorted(self.keys & labels.keys()))
        if keys not in self.by:
            self.by[keys] = {}
            for member, own in self.labels.items():
                self.by[keys].setdefault(values_of(own, keys), set()).add(member)
        return self.by[keys].get(values_of(labels, keys), ())


def values_of(labels: dict[str, str], keys: Keys) -> Values:
    """Return the values of these keys, in the order of the keys."""
    return tuple(labels[key] for key in keys)


Site = tuple[str | None, str]  # namespace, container


class SelectorIndex:
    """Selectors of many owners. The cost of a search depends on what it finds, not on how many selectors exist."""

    def __init__(self) -> None:
        self._sites: dict[Site, dict[frozenset[str], SelectorGroup]] = {}
        self._owned: dict[str, tuple[Pods, ...]] = {}

    def put(self, owner: str, wheres: Collection[Pods]) -> None:
        """Replace what an owner selects."""
        wheres = tuple(wheres)
        if self._owned.get(owner) == wheres:
            return
        self.drop(owner)
        self._owned[owner] = wheres
        for number, where in enumerate(wheres):
            self._group(where).put((owner, number), dict(where.labels))

    def drop(self, owner: str) -> None:
        """Forget an owner."""
        for number, where in enumerate(self._owned.pop(owner, ())):
            group = self._group(where)
            group.drop((owner, number))
            if not group.labels:
                groups = self._sites[where.namespace, where.container]
                del groups[group.keys]
                if not groups:
                    del self._sites[where.namespace, where.container]

    def find(self, where: Pods) -> set[str]:
        """Return the owners that may select a pod which ``where`` selects as well."""
        labels = dict(where.labels)
        return {owner for group in self._groups_near(where) for owner, _ in group.find(labels)}

    def _group(self, where: Pods) -> SelectorGroup:
        groups, keys = self._sites.setdefault((where.namespace, where.container), {}), frozenset(where.labels)
        return groups.setdefault(keys, SelectorGroup(keys))

    def _groups_near(self, where: Pods) -> Iterator[SelectorGroup]:
        if where.namespace is None:
            sites = [site for site in self._sites if site[1] == where.container]
        else:
            sites = [(where.namespace, where.container), (None, where.container)]
        for site in sites:
            yield from self._sites.get(site, {}).values()
