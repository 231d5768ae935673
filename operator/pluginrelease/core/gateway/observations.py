"""What is known of one gateway pod: from the API server, and from its Envoy."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pluginrelease.core.gateway.container import Container, LastWords
from pluginrelease.core.gateway.identity import Incarnation
from pluginrelease.core.gateway.listeners import Listener, ListenerError
from pluginrelease.core.gateway.logs import LogFindings
from pluginrelease.core.registry.transport import RegistryTrust


class FilterKind(StrEnum):
    """What the gateway runs under the plugin's name.

    Istio's agent installs the two RBAC filters when it cannot fetch the module (pkg/wasm/convert.go).
    """

    WASM = "Wasm"
    RBAC_DENY = "RbacDeny"
    RBAC_ALLOW = "RbacAllow"
    OTHER = "Other"


# Istio gives it to the pods that it makes for a Gateway of the Gateway API; its value is the name of the Gateway
GATEWAY_NAME_LABEL = "gateway.networking.k8s.io/gateway-name"


class ProxyRole(StrEnum):
    """What a pod's Envoy is to Istio: the agent's second argument (pilot/cmd/pilot-agent, ``proxy ROLE``)."""

    ROUTER = "router"
    SIDECAR = "sidecar"
    WAYPOINT = "waypoint"


# the filters that replace the plugin after a failed fetch
STAND_INS = frozenset({FilterKind.RBAC_DENY, FilterKind.RBAC_ALLOW})


@dataclass(frozen=True)
class PodRef:
    """A gateway pod as the API server shows it.

    ``deleting``: it has a deletionTimestamp. ``turned_at``: when its readiness changed last, or else when it was
    created. ``image``: of the gateway's container. ``trust``: its settings for registries. ``container``: the container
    that runs Envoy. ``gateway``: name of the Gateway of the Gateway API that the pod was made for. ``role``: None if
    the agent's arguments do not say it.
    """

    namespace: str
    name: str
    uid: str
    ready: bool
    deleting: bool = False
    turned_at: datetime | None = None
    image: str = ""
    trust: RegistryTrust = field(default_factory=RegistryTrust)
    created_at: datetime | None = None
    container: Container = field(default_factory=Container)
    gateway: str | None = None
    role: ProxyRole | None = None


@dataclass(frozen=True)
class ExtensionConfig:
    """One extension configuration (ECDS) with our name.

    It is what Envoy last *received*, not what it runs: a refused one is listed too. ``digest_hex`` is the name of the
    code's file. ``last_updated`` is when Envoy received it, by the gateway's clock.
    """

    name: str
    kind: FilterKind
    type_url: str
    plugin_name: str = ""
    path: str = ""
    digest_hex: str | None = None
    config: Any = None
    fail: str = ""
    last_updated: datetime | None = None
    env: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Stats:
    """Counters and gauges; None if the gateway hides them.

    ``named``: Envoy keeps statistics under our plugin's own name; it creates them with the plugin (Envoy >= 1.33).
    ``vm_reloads`` counts all plugins. Only Higress has the next three. ``crashed``: how many VMs of our plugin are down
    now. ``crashes``: how often one went down. ``unstarted``: in how many workers it never started. ``worker_hangs``:
    how often a worker hung for a second or more since Envoy started.
    """

    config_reload: int | None = None
    config_fail: int | None = None
    update_rejected: int | None = None
    vm_created: int | None = None
    vm_active: int | None = None
    vm_reloads: int | None = None
    named: bool = False
    crashed: int | None = None
    crashes: int | None = None
    unstarted: int | None = None
    worker_hangs: int | None = None


@dataclass(frozen=True)
class PodObservation:
    """One pod, observed once. ``unreachable`` says why if not everything could be read.

    Times inside (``started_at``, entries, listener errors, log) are by the gateway's clock, which is ``skew`` ahead of
    ours; ``at`` is by ours. ``code_files``: distinct Wasm files among the loaded plugins, ours included.
    ``code_shared``: another plugin runs the same file as ours. ``code_names``: Envoy's names of the plugins that run
    our code, ours included. ``others_updated``: when any other extension configuration changed last. ``referenced``: an
    active HTTP listener refers to our filter; None without any such listener. ``silent``: for how long the admin port
    accepted connections but did not answer. ``last_words``: how the container ended, if it did. ``unstarted``: why the
    plugin did not start in a worker, if the log says so (Higress). ``logger_level``: of Envoy's ``filter``; it is
    read only before a write.
    """

    pod: PodRef
    at: datetime
    unreachable: str | None = None
    envoy_version: str | None = None
    istio_version: str | None = None
    concurrency: int | None = None
    started_at: datetime | None = None
    skew: timedelta = timedelta()
    entries: tuple[ExtensionConfig, ...] = ()
    code_files: int = 0
    code_shared: bool = False
    code_names: tuple[str, ...] = ()
    others_updated: datetime | None = None
    listener_errors: tuple[ListenerError, ...] = ()
    other_listener_errors: tuple[ListenerError, ...] = ()
    warming: tuple[str, ...] = ()
    referenced: bool | None = None
    listeners: tuple[Listener, ...] = ()
    stats: Stats = field(default_factory=Stats)
    log: LogFindings = field(default_factory=LogFindings)
    unknown: tuple[str, ...] = ()
    silent: timedelta | None = None
    last_words: LastWords | None = None
    unstarted: str = ""
    logger_level: str | None = None


@dataclass(frozen=True)
class Baseline:
    """What one run of a pod's Envoy showed before the write. None: it was hidden, or is not stored.

    Five values serve signs that need no raised logger and no hidden counter; without them there are fewer signs.
    ``crashes`` is Higress's. ``restarts`` of the container and a hash of its ``image`` are set for pods that were well,
    so that a later end of the container is noticed. ``digest_hex`` is None if the gateway had no plugin, and "" if it
    is not stored.
    """

    incarnation: Incarnation
    config_reload: int | None
    config_fail: int | None
    update_rejected: int | None
    vm_created: int | None = None
    vm_reloads: int | None = None
    named: bool | None = None
    digest_hex: str | None = None
    others_updated: datetime | None = None
    crashes: int | None = None
    restarts: int | None = None
    image: str | None = None
    worker_hangs: int | None = None


def identify_run(sighting: PodObservation) -> Incarnation | None:
    """Return the pod's run; None if Envoy's start is not known."""
    if sighting.started_at is None:
        return None
    return Incarnation.of(sighting.pod.uid, sighting.started_at)


def make_baseline(sighting: PodObservation) -> Baseline | None:
    """Return what to store (in the API) of an observation before a write; None if the pod could not be read."""
    run = identify_run(sighting)
    if sighting.unreachable or sighting.unknown or run is None:
        return None
    stats = sighting.stats
    digests = [entry.digest_hex for entry in sighting.entries]
    is_known_well = is_well(sighting.pod)
    return Baseline(
        run,
        stats.config_reload,
        stats.config_fail,
        stats.update_rejected,
        stats.vm_created,
        stats.vm_reloads,
        stats.named,
        digests[0] if digests else None,
        sighting.others_updated,
        stats.crashes,
        restarts=sighting.pod.container.restarts if is_known_well else None,
        image=hash_image(sighting.pod) if is_known_well else None,
        worker_hangs=stats.worker_hangs or None,
    )


def is_well(pod: PodRef) -> bool:
    """Return True if the pod is ready, and its container runs."""
    return pod.ready and pod.container.running


def hash_image(pod: PodRef) -> str:
    """Return a short hash of the image. Status stores one for each pod."""
    return hashlib.sha256(pod.image.encode()).hexdigest()[:8]
