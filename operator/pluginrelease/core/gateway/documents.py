"""Turn admin documents, statistics and log lines of one gateway pod into a `PodObservation`.

Nothing is decided here. A document of an unknown shape becomes an entry of `PodObservation.unknown`; `judging.judge`
never counts that as healthy. Shapes: Envoy's admin API (envoy.admin.v3), measured on Envoy 1.40.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from pluginrelease.core import placeholders
from pluginrelease.core.gateway import shapes, statistics
from pluginrelease.core.gateway.extensions import Extensions
from pluginrelease.core.gateway.higress_logs import find_start_failure
from pluginrelease.core.gateway.identity import DesiredPlugin, Incarnation
from pluginrelease.core.gateway.listeners import ListenerError, Listeners
from pluginrelease.core.gateway.logs import parse_time, read_log
from pluginrelease.core.gateway.observations import PodObservation, PodRef

# how far back to search for Envoy's log lines about a configuration that it already had
LOG_REACH = timedelta(minutes=15)


@dataclass(frozen=True)
class Documents:
    """The answers of one pod, unchanged.

    ``server_info``, ``start`` (`/config_dump?mask=last_updated`), ``ecds`` (`?mask=ecds_filters`) and ``stats``
    (`/stats?format=json`) are JSON texts. ``ecds`` is "" if Envoy has no such section. ``listeners``
    (`?resource=dynamic_listeners`) can be too large for memory, and is already reduced. ``log_from``: since when (the
    gateway's clock) the log was requested, if known. ``logger_level``: of Envoy's ``filter``, if read.
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
    logger_level: str | None = None


def identify_start(pod: PodRef, start: str) -> Incarnation | None:
    """Return the pod's run from the document that has Envoy's start (`Documents.start`)."""
    began = _read_start(start, [])
    return Incarnation.of(pod.uid, began) if began else None


def read_version(server_info: str) -> str | None:
    """Return Envoy's version like "1.40.0" from `/server_info`; None for an unknown shape."""
    build = re.fullmatch(
        r"[0-9a-f]*/(\d+\.\d+\.\d+)[^/]*/.*", str(shapes.read_document(server_info, []).get("version", ""))
    )
    return build.group(1) if build else None


def read_start(start: str) -> datetime | None:
    """Return when Envoy started, by its clock, from `/config_dump?mask=last_updated`; None for an unknown shape."""
    return _read_start(start, [])


def trim_server_info(server_info: str) -> str:
    """Return `/server_info` with only the fields that are read; its list of extensions takes a hundred kilobytes.

    A text of an unknown shape is returned unchanged.
    """
    info = shapes.read_document(server_info, [])
    metadata, options = shapes.descend(info, "node", "metadata"), shapes.descend(info, "command_line_options")
    if "version" not in info:
        return server_info
    kept = {
        "version": info["version"],
        "node": {"metadata": {key: metadata[key] for key in ("ISTIO_VERSION",) if key in metadata}},
        "command_line_options": {key: options[key] for key in ("concurrency",) if key in options},
    }
    return json.dumps(kept)


def read_logger_level(answer: str, logger: str) -> str | None:
    """Return a logger's level from the answer of `POST /logging`; None if it is not listed."""
    line = re.search(rf"^\s*{re.escape(logger)}: (\w+)\s*$", answer, re.MULTILINE)
    return line.group(1) if line else None


def find_log_start(ecds: str, wanted: DesiredPlugin, write_at: datetime) -> datetime:
    """Return since when (the gateway's clock) to read the log for Envoy's words on its configuration.

    Usually that is the write. But Envoy may have had the very same configuration before. An object that is deleted and
    created again while the old listener drains finds its old subscription, and Envoy logs nothing new. Then its words
    date from when it received the configuration; the search goes back at most `LOG_REACH`. With placeholders it is not
    known whether the configuration is the same.
    """
    if wanted.has_placeholders:
        return write_at
    ours = Extensions.read(ecds, wanted, []).ours
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
    """Return what one pod's documents say about the wanted plugin. ``since`` (our clock) is where the log begins."""
    unknown: list[str] = []
    info = shapes.read_document(documents.server_info, unknown, "/server_info")
    dump = Extensions.read(documents.ecds, wanted, unknown)
    unknown += documents.listeners.unknown
    stats = statistics.read_numbers(documents.stats, unknown)
    listeners, errors = documents.listeners, documents.listeners.errors()
    log_from = documents.log_from or find_log_start(documents.ecds, wanted, since + documents.skew)
    secrets = dump.secrets(wanted)
    lines = documents.log.splitlines()
    return PodObservation(
        pod=pod,
        at=at,
        envoy_version=read_version(documents.server_info),
        istio_version=shapes.as_text(shapes.descend(info, "node", "metadata").get("ISTIO_VERSION")),
        concurrency=shapes.as_number(shapes.descend(info, "command_line_options").get("concurrency")),
        started_at=_read_start(documents.start, unknown),
        skew=documents.skew,
        entries=dump.ours,
        code_files=dump.loaded_files(stats),
        code_shared=dump.is_shared(),
        code_names=dump.sharers(),
        others_updated=max((entry.last_updated for entry in dump.others if entry.last_updated), default=None),
        listener_errors=placeholders.hide_in(tuple(error for error in errors if _concerns(error, wanted)), secrets),
        other_listener_errors=placeholders.hide_in(
            tuple(error for error in errors if not _concerns(error, wanted)), secrets
        ),
        warming=listeners.list_warming(wanted),
        referenced=listeners.is_referenced(wanted),
        listeners=listeners.list_serving(wanted),
        stats=statistics.read_stats(stats, wanted),
        log=read_log(lines, wanted, log_from, truncated=documents.log_truncated, secrets=secrets),
        unknown=tuple(unknown),
        unstarted=find_start_failure(lines, wanted, secrets),
        logger_level=documents.logger_level,
    )


def _concerns(error: ListenerError, wanted: DesiredPlugin) -> bool:
    return any(map(wanted.plugin_name_matches, re.split(r"[\s,;:'\"]+", error.details)))


def _read_start(text: str, unknown: list[str]) -> datetime | None:
    """Return when this Envoy read its bootstrap, in milliseconds: the same in every answer of one run."""
    for section in shapes.read_list(
        shapes.read_document(text, unknown, "/config_dump?mask=last_updated"), "configs", unknown
    ):
        if str(section.get("@type", "")).endswith("BootstrapConfigDump"):
            return parse_time(section.get("last_updated"))
    return None
