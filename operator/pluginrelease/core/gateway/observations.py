"""What is known of one gateway pod: as the API server shows it, and as its Envoy describes itself."""

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

    The two RBAC filters are what Istio's agent puts there when it cannot fetch the module (pkg/wasm/convert.go).
    """

    WASM = "Wasm"
    RBAC_DENY = "RbacDeny"
    RBAC_ALLOW = "RbacAllow"
    OTHER = "Other"


# what stands in the plugin's place after a failed fetch
STAND_INS = frozenset({FilterKind.RBAC_DENY, FilterKind.RBAC_ALLOW})


@dataclass(frozen=True)
class PodRef:
    """A gateway pod as the API server shows it. ``deleting``: it has a deletionTimestamp; ``turned_at``: when it last
    became ready or ceased to be, else when it was made; ``image``: of the gateway's container; ``trust``: what it was
    told of registries; ``container``: the one that runs Envoy.
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


@dataclass(frozen=True)
class ExtensionConfig:
    """One extension configuration (ECDS) that carries our name.

    It is what Envoy last *received*, not what it runs: a refused one shows here too. ``digest_hex`` is the name of
    the code's file; ``last_updated`` when Envoy received it, by the gateway's clock.
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
    """Counters and gauges; None where the gateway hides them.

    ``named``: Envoy keeps statistics under our plugin's own name, which it makes only once a plugin was created
    (Envoy >= 1.33). ``vm_reloads`` counts all plugins. ``crashed``: how many VMs of our plugin are down now, where the
    gateway tells that by the plugin's name (Higress), and ``crashes`` how often one went down; ``unstarted``: in how
    many workers it never came up.
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


@dataclass(frozen=True)
class PodObservation:
    """One pod, looked at once; ``unreachable`` says why when not everything could be read.

    Times inside (``started_at``, entries, listener errors, log) are by the gateway's clock, which is ``skew`` ahead
    of ours; ``at`` is by ours. ``code_files``: distinct Wasm files among the loaded plugins, ours included;
    ``code_shared``: another plugin runs the same file as ours; ``code_names``: what Envoy calls the plugins that run
    our code, ours included; ``others_updated``: when any other extension configuration changed last; ``referenced``:
    an active HTTP listener asks for our filter, None without any such listener; ``silent``: for how long the admin
    port, which took a connection, did not answer; ``last_words``: how the container ended, where it did;
    ``unstarted``: why the plugin did not come up in a worker, where the log says that (Higress).
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


@dataclass(frozen=True)
class Baseline:
    """What one run of a pod's Envoy showed before the write. What is None was hidden, or not kept.

    Five serve signs that need no raised logger and no hidden counter; without them there are fewer signs. ``crashes``
    is Higress's. ``restarts`` of the container and a mark of its ``image`` are of pods that were well, by which the
    end of a container shows as news. ``digest_hex`` is None where the gateway had no plugin, "" where it is not kept.
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


def identify_run(sighting: PodObservation) -> Incarnation | None:
    """None when the Envoy's start is not known."""
    if sighting.started_at is None:
        return None
    return Incarnation.of(sighting.pod.uid, sighting.started_at)


def make_baseline(sighting: PodObservation) -> Baseline | None:
    """What to keep (in the API) of a look before a write; None when the pod could not be read."""
    run = identify_run(sighting)
    if sighting.unreachable or sighting.unknown or run is None:
        return None
    stats = sighting.stats
    digests = [entry.digest_hex for entry in sighting.entries]
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
        *((sighting.pod.container.restarts, hash_image(sighting.pod)) if is_well(sighting.pod) else ()),
    )


def is_well(pod: PodRef) -> bool:
    """Whether the pod is ready, and its container runs."""
    return pod.ready and pod.container.running


def hash_image(pod: PodRef) -> str:
    """Short, for a status that keeps one of each pod."""
    return hashlib.sha256(pod.image.encode()).hexdigest()[:8]
