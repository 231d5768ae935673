"""What the gateways of one entry should run, and what they showed last."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pluginrelease import api
from pluginrelease.core import revision
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.observations import PodObservation
from pluginrelease.core.mesh import providers, target
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.mesh.providers import PluginAPI


@dataclass(frozen=True)
class Candidate:
    """What an entry's gateways should run: the placed release with a revision's artifact and plugin."""

    placement: Placement
    artifact: api.ArtifactStatus

    @property
    def release(self) -> api.Release:
        return self.placement.release

    @property
    def gateway(self) -> api.Gateway:
        return self.placement.gateway

    @cached_property
    def revision(self) -> str:
        return revision.compute_identity(self.release.spec, self.artifact.digest, self.placement.config_digest)

    @cached_property
    def load(self) -> str:
        return revision.compute_load(self.release.spec, self.artifact.digest, self.placement.config_digest)

    @property
    def plugin_api(self) -> PluginAPI:
        return providers.plugin_api_of(self.release.spec)

    def pods(self, mesh: target.MeshSettings) -> target.Pods:
        """Return where its gateway pods are."""
        return providers.mesh_of(self.release.spec).pods(self.gateway, mesh)

    def wanted(self) -> DesiredPlugin:
        """Return what every gateway pod should run."""
        plugin = self.placement.plugin
        return DesiredPlugin(
            namespace=self.gateway.namespace,
            name=target.name_object(self.placement),
            digest_hex=self.artifact.digest.removeprefix("sha256:"),
            config=self.plugin_api.configuration(plugin),
            fail_strategy=str(plugin.fail_strategy),
            env=target.read_environment(plugin),
            image=self.artifact.image,
            replaces=self.plugin_api.REPLACES,
            values=self.placement.secrets,
        )


@dataclass(frozen=True)
class LastLook:
    """What the gateways showed when the rollback was decided. It replaces another check before that write."""

    sightings: tuple[PodObservation, ...] = ()
    refuted_probes: frozenset[str] = frozenset()
