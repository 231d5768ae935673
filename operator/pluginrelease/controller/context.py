"""What every pass works with: the connection, the one `Writer`, the settings and the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pluginrelease import api
from pluginrelease.controller import artifacts, loggers
from pluginrelease.controller.image_checks import ImageChecks
from pluginrelease.controller.reading import DirectReader, StoreReader
from pluginrelease.controller.right_of_way import RightOfWay
from pluginrelease.controller.store import Store
from pluginrelease.controller.writer import Writer
from pluginrelease.core.apiserver.stored import ReleaseReadings
from pluginrelease.core.mesh import target
from pluginrelease.edges.envoy.access import GatewayAccess, allow
from pluginrelease.edges.envoy.dump_cache import DumpCache
from pluginrelease.edges.envoy.snapshots import SnapshotShare
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.metrics import Metrics
from pluginrelease.settings import Settings


def utc_now() -> datetime:
    """Return the time. This is the operator's only clock."""
    return datetime.now(UTC)


def mesh_of(settings: Settings) -> target.MeshSettings:
    """Return what the settings say of the installation."""
    return target.MeshSettings(settings.istio_root_namespace, settings.gateway_container, settings.higress_labels)


@dataclass(frozen=True)
class Context:
    """Everything a pass works with. ``store``: what is known of releases without a request; None if nothing is."""

    cluster: Cluster
    settings: Settings
    shelf: artifacts.ArtifactCache
    writer: Writer
    store: Store | None = None
    memory: DumpCache = field(default_factory=DumpCache)
    snapshots: SnapshotShare = field(default_factory=SnapshotShare)
    # uid of a release → when this process last wrote what its gateways load
    wrote: dict[str, datetime] = field(default_factory=dict)
    # uid of a release and name of an entry → when this process last checked its gateways
    looks: dict[tuple[str, str], datetime] = field(default_factory=dict)
    # uid of a release → the generation at which the operator last looked for objects without an entry
    swept: dict[str, int] = field(default_factory=dict)
    # uid of a new release → the names of all its kept revisions
    kept: dict[str, set[str]] = field(default_factory=dict)
    # uid of a release → the status that could not be written: later passes must not contradict its decisions
    unwritten: dict[str, api.Status] = field(default_factory=dict)
    # checks if the images that run can still be fetched
    images: ImageChecks = field(default_factory=ImageChecks)
    # releases as last read, so that each version is parsed once
    readings: ReleaseReadings = field(default_factory=ReleaseReadings)
    # log levels that one release leaves to another one to restore
    left: loggers.Left = field(default_factory=set)
    # what goes back goes first
    right_of_way: RightOfWay = field(default_factory=RightOfWay)
    now: Callable[[], datetime] = utc_now
    # called before each change of a gateway, as the connection calls it before each write
    fence: Callable[[], None] = allow
    metrics: Metrics = field(default_factory=Metrics)

    def forget(self, uid: str) -> None:
        """Forget a release that is gone."""
        self.writer.forget(uid)
        self.writer.forget(loggers.gate(uid))
        self.swept.pop(uid, None)
        self.wrote.pop(uid, None)
        for key in [key for key in self.looks if key[0] == uid]:
            del self.looks[key]
        self.unwritten.pop(uid, None)
        self.kept.pop(uid, None)
        self.readings.forget(uid)
        self.left.difference_update([pair for pair in self.left if pair[0] == uid])

    def with_unwritten(self, release: api.Release) -> api.Release:
        """Return the release with the status that the last pass could not write, so that nothing of it is lost.

        This status is newer than the API server's, so it counts for a changed spec too.
        """
        unwritten = self.unwritten.get(release.metadata.uid)
        return release.model_copy(update={"status": unwritten}) if unwritten is not None else release

    def reader(self) -> DirectReader:
        """Return what a pass reads with: the store if there is one, else the API server."""
        return DirectReader(self.cluster) if self.store is None else StoreReader(self.cluster, self.store)

    @property
    def reach(self) -> GatewayAccess:
        """Return how the operator reaches gateways."""
        return GatewayAccess(admin_port=self.settings.gateway_admin_port, fence=self.fence)

    @property
    def mesh(self) -> target.MeshSettings:
        """Return what the settings say of the installation."""
        return mesh_of(self.settings)
