"""One gateway pod, as its Envoy describes itself: admin documents, statistics and log lines become a `PodObservation`.

Nothing is decided here. A document whose shape is not known becomes an entry of `PodObservation.unknown`, which
`judging.judge` never takes for health. Shapes: Envoy's admin API (envoy.admin.v3), measured on Envoy 1.40.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pluginrelease.core import placeholders
from pluginrelease.core.gateway.container import Container, LastWords
from pluginrelease.core.gateway.higress_logs import unstarted
from pluginrelease.core.gateway.identity import DesiredPlugin, Incarnation
from pluginrelease.core.gateway.listeners import Listener, ListenerError, Listeners
from pluginrelease.core.gateway.logs import LogFindings, moment, read_log
from pluginrelease.core.registry.transport import RegistryTrust

_WASM = ("envoy.extensions.filters.http.wasm.v3.Wasm", "envoy.extensions.filters.network.wasm.v3.Wasm")
_RBAC = ("envoy.extensions.filters.http.rbac.v3.RBAC", "envoy.extensions.filters.network.rbac.v3.RBAC")
_CODE = re.compile(r"(?:^|/)([0-9a-f]{64})\.wasm$")
_RUNTIME = "wasm.envoy.wasm.runtime.v8."
# a VM that was made for a plugin that was loaded before: by FAIL_RELOAD, or by Higress after a crash or as it had grown
_RESTART = re.compile(
    r"wasm\..*\.vm_reload(_success|_failure)?|wasm\.envoy\.wasm\.runtime\.v8\.plugin\..*"
    r"\.(recover_total|rebuild_total|worker_init_recovered_total)"
)


# how far back Envoy's word on a configuration that it had before is looked for
LOG_REACH = timedelta(minutes=15)


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
    end of a container shows as news.
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


@dataclass(frozen=True)
class Documents:
    """What was read of one pod, as it was answered.

    ``server_info``, ``start`` (`/config_dump?mask=last_updated`), ``ecds`` (`?mask=ecds_filters`) and ``stats``
    (`/stats?format=json`) are JSON texts; ``ecds`` is "" where Envoy has no such section. ``listeners``
    (`?resource=dynamic_listeners`) can be too large to be held, and are what was kept of them. ``log_from``: from when
    on (the gateway's clock) the log was asked for, when that is known.
    """

    server_info: str
    start: str
    ecds: str
    listeners: Listeners
    stats: str
    log: str
    log_truncated: bool = False
    skew: timedelta = timedelta()
    log_from: datetime | None = None


def incarnation(sighting: PodObservation) -> Incarnation | None:
    """None when the Envoy's start is not known."""
    if sighting.started_at is None:
        return None
    return Incarnation(sighting.pod.uid, sighting.started_at)


def running(pod: PodRef, start: str) -> Incarnation | None:
    """The same, of the document that tells it (`Documents.start`)."""
    began = _started(start, [])
    return Incarnation(pod.uid, began) if began else None


def baseline(sighting: PodObservation) -> Baseline | None:
    """What to keep (in the API) of a look before a write; None when the pod could not be read."""
    run = incarnation(sighting)
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
        *((sighting.pod.container.restarts, image_mark(sighting.pod)) if is_well(sighting.pod) else ()),
    )


def is_well(pod: PodRef) -> bool:
    """Whether the pod is ready, and its container runs."""
    return pod.ready and pod.container.running


def image_mark(pod: PodRef) -> str:
    """Short, for a status that keeps one of each pod."""
    return hashlib.sha256(pod.image.encode()).hexdigest()[:8]


def version(server_info: str) -> str | None:
    """Envoy's version like "1.40.0", from `/server_info`; None for an unknown shape."""
    build = re.fullmatch(r"[0-9a-f]*/(\d+\.\d+\.\d+)[^/]*/.*", str(_document(server_info, []).get("version", "")))
    return build.group(1) if build else None


def started_at(start: str) -> datetime | None:
    """When the Envoy that answers `/config_dump?mask=last_updated` started, by its clock; None for an unknown shape."""
    return _started(start, [])


def trim_server_info(server_info: str) -> str:
    """What is read of `/server_info`, in its own shape: the list of Envoy's extensions makes it a hundred kilobytes.

    The text as it is when it is of no known shape.
    """
    info = _document(server_info, [])
    metadata, options = _inner(info, "node", "metadata"), _inner(info, "command_line_options")
    if "version" not in info:
        return server_info
    kept = {
        "version": info["version"],
        "node": {"metadata": {key: metadata[key] for key in ("ISTIO_VERSION",) if key in metadata}},
        "command_line_options": {key: options[key] for key in ("concurrency",) if key in options},
    }
    return json.dumps(kept)


def logger_level(answer: str, logger: str) -> str | None:
    """A logger's level in the answer of `POST /logging`; None when it is not listed."""
    line = re.search(rf"^\s*{re.escape(logger)}: (\w+)\s*$", answer, re.MULTILINE)
    return line.group(1) if line else None


def log_since(ecds: str, wanted: DesiredPlugin, write_at: datetime) -> datetime:
    """From where (the gateway's clock) its log must be read to find Envoy's word on the configuration that it has.

    That is the write, unless Envoy had the very same configuration from before: an object that is deleted and made
    again while the old listener drains finds its old subscription, and Envoy says nothing new. Then its word is from
    when it received it, looked for at most `LOG_REACH` back. Of a placeholder nobody knows whether it is the same.
    """
    if wanted.has_placeholders:
        return write_at
    ours = _Extensions.read(ecds, wanted, []).ours
    received = [
        entry.last_updated
        for entry in ours
        if entry.last_updated and entry.digest_hex == wanted.digest_hex and wanted.is_given(entry.config, entry.env)
    ]
    if not ours or len(received) < len(ours) or min(received) >= write_at:
        return write_at
    return max(min(received), write_at - LOG_REACH)


def observe_pod(
    pod: PodRef, at: datetime, documents: Documents, wanted: DesiredPlugin, since: datetime
) -> PodObservation:
    """One pod's documents → what they say about the wanted plugin. ``since`` (our clock) bounds the log."""
    unknown: list[str] = []
    info = _document(documents.server_info, unknown, "/server_info")
    dump = _Extensions.read(documents.ecds, wanted, unknown)
    unknown += documents.listeners.unknown
    stats = _numbers(documents.stats, unknown)
    listeners, errors = documents.listeners, documents.listeners.errors()
    log_from = documents.log_from or log_since(documents.ecds, wanted, since + documents.skew)
    secrets = dump.secrets(wanted)
    lines = documents.log.splitlines()
    return PodObservation(
        pod=pod,
        at=at,
        envoy_version=version(documents.server_info),
        istio_version=_text(_inner(info, "node", "metadata").get("ISTIO_VERSION")),
        concurrency=_number(_inner(info, "command_line_options").get("concurrency")),
        started_at=_started(documents.start, unknown),
        skew=documents.skew,
        entries=dump.ours,
        code_files=dump.loaded_files(stats),
        code_shared=dump.shared(),
        code_names=dump.sharers(),
        others_updated=max((entry.last_updated for entry in dump.others if entry.last_updated), default=None),
        listener_errors=placeholders.hide_in(tuple(error for error in errors if _concerns(error, wanted)), secrets),
        other_listener_errors=placeholders.hide_in(
            tuple(error for error in errors if not _concerns(error, wanted)), secrets
        ),
        warming=listeners.warming(wanted),
        referenced=listeners.referenced(wanted),
        listeners=listeners.serving(wanted),
        stats=_stats(stats, wanted),
        log=read_log(lines, wanted, log_from, truncated=documents.log_truncated, secrets=secrets),
        unknown=tuple(unknown),
        unstarted=unstarted(lines, wanted, secrets),
    )


# ------------------------------------------------------------------------------------------- extension configurations


@dataclass(frozen=True)
class _Extensions:
    ours: tuple[ExtensionConfig, ...]
    others: tuple[ExtensionConfig, ...]

    @classmethod
    def read(cls, text: str, wanted: DesiredPlugin, unknown: list[str]) -> _Extensions:
        entries = [_entry(item, unknown) for item in _items(text, "ecds_filters", unknown)]
        ours = tuple(entry for entry in entries if wanted.ecds_name_matches(entry.name))
        others = tuple(entry for entry in entries if not wanted.ecds_name_matches(entry.name))
        return cls(ours, others)

    def shared(self) -> bool:
        codes = {_code(entry) for entry in self.ours if entry.path}
        return any(_code(entry) in codes for entry in self.others)

    def secrets(self, wanted: DesiredPlugin) -> frozenset[str]:
        """What the gateway was given in the place of placeholders: no message may have it."""
        given = ((entry.config, entry.env) for entry in self.ours if wanted.replaces)
        return frozenset(one for pair in given for one in placeholders.values((wanted.config, wanted.env), pair))

    def sharers(self) -> tuple[str, ...]:
        codes = {_code(entry) for entry in self.ours if entry.path}
        return tuple(entry.plugin_name for entry in (*self.ours, *self.others) if _code(entry) in codes)

    def loaded_files(self, stats: Mapping[str, int]) -> int:
        """Distinct codes of the plugins that Envoy created at least once; of all where it does not tell."""
        wasm = [entry for entry in (*self.ours, *self.others) if entry.kind is FilterKind.WASM]
        named = [entry for entry in wasm if f"wasm.{entry.plugin_name}.vm_reload" in stats]
        return len({_code(entry) for entry in named or wasm})


def _code(entry: ExtensionConfig) -> str:
    """What Envoy shares a VM by is the code's bytes: the same image in two repositories is two files and one code."""
    return entry.digest_hex or entry.path


def _entry(item: Mapping[str, Any], unknown: list[str]) -> ExtensionConfig:
    extension = _inner(item, "ecds_filter")
    typed = _inner(extension, "typed_config")
    name, type_url = _text(extension.get("name")) or "", _text(typed.get("@type")) or ""
    if not name or not type_url:
        unknown.append("an extension configuration without a name or a type")
    updated = moment(item.get("last_updated"))
    kind = _kind(type_url, typed)
    if kind is not FilterKind.WASM:
        return ExtensionConfig(name, kind, type_url, last_updated=updated)
    plugin = _inner(typed, "config")
    path = _text(_inner(plugin, "vm_config", "code", "local").get("filename")) or ""
    code = _CODE.search(path)
    return ExtensionConfig(
        name=name,
        kind=kind,
        type_url=type_url,
        plugin_name=_text(plugin.get("name")) or "",
        path=path,
        digest_hex=code.group(1) if code else None,
        config=_configuration(plugin),
        fail=_text(plugin.get("failure_policy")) or ("FAIL_OPEN" if plugin.get("fail_open") else "FAIL_CLOSED"),
        last_updated=updated,
        env=_environment(_inner(plugin, "vm_config", "environment_variables")),
    )


def _environment(variables: Mapping[str, Any]) -> dict[str, str | None]:
    """The module's environment without what Istio puts there for its agent (istio pkg/model/wasm.go)."""
    hosts = variables.get("host_env_keys")
    own = {str(name): None for name in hosts} if isinstance(hosts, list) else {}
    given = {str(name): str(value) for name, value in _inner(variables, "key_values").items()}
    return {name: value for name, value in {**own, **given}.items() if not name.startswith("ISTIO_META_")}


def _kind(type_url: str, typed: Mapping[str, Any]) -> FilterKind:
    name = type_url.rpartition("/")[2]
    if name in _WASM:
        return FilterKind.WASM
    if name in _RBAC:
        return FilterKind.RBAC_DENY if "rules" in typed else FilterKind.RBAC_ALLOW
    return FilterKind.OTHER


def _configuration(plugin: Mapping[str, Any]) -> Any:
    """The plugin's JSON; {} for none, and the text itself when it is not JSON, or nests without end."""
    value = _inner(plugin, "configuration").get("value")
    if not isinstance(value, str) or not value:
        return {}
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _concerns(error: ListenerError, wanted: DesiredPlugin) -> bool:
    return any(map(wanted.plugin_name_matches, re.split(r"[\s,;:'\"]+", error.details)))


# -------------------------------------------------------------------------------------------------------- statistics


def _numbers(text: str, unknown: list[str]) -> dict[str, int]:
    listed = _list(_document(text, unknown, "/stats"), "stats", unknown)
    pairs = [(item.get("name"), item.get("value")) for item in listed]
    return {name: value for name, value in pairs if isinstance(name, str) and isinstance(value, int)}


def _stats(stats: Mapping[str, int], wanted: DesiredPlugin) -> Stats:
    reloads = [value for name, value in stats.items() if _RESTART.fullmatch(name)]
    return Stats(
        config_reload=_discovery(stats, wanted, "config_reload"),
        config_fail=_discovery(stats, wanted, "config_fail"),
        update_rejected=_discovery(stats, wanted, "update_rejected"),
        vm_created=stats.get(f"{_RUNTIME}created"),
        vm_active=stats.get(f"{_RUNTIME}active"),
        vm_reloads=sum(reloads) if reloads else None,
        named=any(_named(name, wanted) for name in stats),
        crashed=_of_plugin(stats, wanted, "crash"),
        crashes=_of_plugin(stats, wanted, "crash_total"),
        unstarted=_of_plugin(stats, wanted, "worker_uninitialized"),
    )


def _discovery(stats: Mapping[str, int], wanted: DesiredPlugin, counter: str) -> int | None:
    for name, value in stats.items():
        match = re.fullmatch(r"extension_config_discovery\.(?:http|network)_filter\.(.+)\.(\w+)", name)
        if match and match.group(2) == counter and wanted.ecds_name_matches(match.group(1)):
            return value
    return None


def _named(name: str, wanted: DesiredPlugin) -> bool:
    match = re.fullmatch(r"wasm\.(.+)\.vm_reload", name)
    return bool(match and wanted.plugin_name_matches(match.group(1)))


def _of_plugin(stats: Mapping[str, int], wanted: DesiredPlugin, what: str) -> int | None:
    """What Higress keeps by the plugin's name (envoy source/extensions/common/wasm/stats_handler.h there)."""
    for name, value in stats.items():
        match = re.fullmatch(rf"{re.escape(_RUNTIME)}plugin\.(.+)\.{what}", name)
        if match and wanted.plugin_name_matches(match.group(1)):
            return value
    return None


# ------------------------------------------------------------------------------------------------------------- shapes


def _started(text: str, unknown: list[str]) -> datetime | None:
    """When this Envoy read its bootstrap: to the millisecond, and the same at every look."""
    for section in _list(_document(text, unknown, "/config_dump?mask=last_updated"), "configs", unknown):
        if str(section.get("@type", "")).endswith("BootstrapConfigDump"):
            return moment(section.get("last_updated"))
    return None


def _items(text: str, key: str, unknown: list[str]) -> list[Mapping[str, Any]]:
    """The entries of a repeated field of every section of a masked config dump."""
    if not text:
        return []
    sections = _list(_document(text, unknown, key), "configs", unknown)
    return [item for section in sections for item in _list(section, key, unknown)]


def _list(document: Mapping[str, Any], key: str, unknown: list[str]) -> list[Mapping[str, Any]]:
    """A list of objects; a field that is there and is something else is not understood."""
    listed = document.get(key, [])
    if isinstance(listed, list) and all(isinstance(item, dict) for item in listed):
        return listed
    unknown.append(f"{key} is not a list of objects")
    return []


def _document(text: str, unknown: list[str], what: str = "") -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        unknown.append(f"{what} did not answer with a JSON object")
        return {}
    return document


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _inner(value: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for key in path:
        value = _mapping(value.get(key))
    return value


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None
