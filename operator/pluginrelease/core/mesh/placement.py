"""A release as one entry of its ``spec.gateways`` sees it: what is written there, and for which pods."""

from __future__ import annotations

from dataclasses import dataclass

from pluginrelease import api


@dataclass(frozen=True)
class Placement:
    """One entry of a release: everything that is rendered for its object follows from these two."""

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
        """Whether release and gateway share a namespace: only there can an owner reference hold."""
        return self.release.metadata.namespace == self.gateway.namespace


def placements(release: api.Release) -> tuple[Placement, ...]:
    """Return one placement for each entry, in the order of the spec."""
    return tuple(Placement(release, gateway) for gateway in release.spec.gateways)
