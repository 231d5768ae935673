"""The namespaces that the operator may read. If it may read all, one list and one watch cover them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pluginrelease import api

# what lives in the namespaces of releases, not of gateways
OF_RELEASES = frozenset((api.PLURAL,))


@dataclass(frozen=True)
class Scope:
    """``watched``: the namespaces of releases. ``gateways``: the namespaces of gateways. Empty means all namespaces."""

    watched: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()

    @property
    def is_narrow(self) -> bool:
        """Return True if the operator may not list anything in the whole cluster, not even releases."""
        return bool(self.watched and self.gateways)

    def places(self, plural: str) -> Sequence[str | None]:
        """Return the namespaces in which to list objects of a kind; None is the whole cluster.

        Releases outside the watched namespaces matter too, because they may select the same pods. They are listed in
        the whole cluster, unless the operator has no rights there.
        """
        if plural in OF_RELEASES:
            return self.watched if self.is_narrow else (None,)
        return self.gateways or (None,)

    def has_gateways_in(self, namespace: str) -> bool:
        """Return True if the operator may read gateways in this namespace."""
        return not self.gateways or namespace in self.gateways
