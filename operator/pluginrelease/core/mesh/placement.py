"""A release, seen from one entry of its ``spec.gateways``: what is written there, and for which pods."""

from __future__ import annotations

from dataclasses import dataclass

from pluginrelease import api
from pluginrelease.core import config_values
from pluginrelease.core.config_values import ConfigValues


@dataclass(frozen=True)
class Placement:
    """One entry of a release. The object of the entry is rendered from these three fields alone.

    ``config``: the values of ``configFrom``; None if the spec has none, or if they were not read.
    """

    release: api.Release
    gateway: api.Gateway
    config: ConfigValues | None = None

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
    def plugin(self) -> api.Plugin:
        """The spec's plugin with the values of ``configFrom``. Raises `Refused` (``ConfigPathConflict``)."""
        return config_values.fill(self.spec.plugin, self.config)

    @property
    def config_digest(self) -> str | None:
        """Keyed hash of the values of ``configFrom``."""
        return self.config.digest if self.config is not None else None

    @property
    def is_filled(self) -> bool:
        """Return True if all values of ``configFrom`` are known. Without them nothing may be written."""
        is_read = self.config is not None and self.config.values is not None
        return is_read or not config_values.list_places(self.spec.plugin)

    @property
    def secrets(self) -> frozenset[str]:
        """The texts of the values from Secrets. No message may contain them."""
        return config_values.list_secrets(self.spec.plugin, self.config)

    @property
    def is_local(self) -> bool:
        """Return True if release and gateway share a namespace: an owner reference is possible only there."""
        return self.release.metadata.namespace == self.gateway.namespace


def placements(release: api.Release) -> tuple[Placement, ...]:
    """Return one placement for each entry, in the order of the spec."""
    return tuple(Placement(release, gateway) for gateway in release.spec.gateways)
