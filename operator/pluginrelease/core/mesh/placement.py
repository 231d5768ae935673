"""A release, seen from one entry of its ``spec.gateways``: what is written there, and for which pods."""

from __future__ import annotations

from dataclasses import dataclass

from pluginrelease import api


@dataclass(frozen=True)
class Placement:
    """One entry of a release. The object of the entry is rendered from these two fields alone."""

    release: api.Release
    gateway: api.Gateway

    @property
    def name(self) -> str:
        """Name of the entry."""
        return self.gateway.name

    @property
    def metadata(self) -> api.Metadata:
        """The release's metadata."""
        return self.release.metadata

    @property
    def spec(self) -> api.Spec:
        """The release's spec."""
        return self.release.spec

    @property
    def is_local(self) -> bool:
        """Return True if release and gateway share a namespace: an owner reference is possible only there."""
        return self.release.metadata.namespace == self.gateway.namespace


def placements(release: api.Release) -> tuple[Placement, ...]:
    """Return one placement for each entry, in the order of the spec."""
    return tuple(Placement(release, gateway) for gateway in release.spec.gateways)
