"""Log levels that the operator raised on pods and must restore, and their stored form: pods of one level together."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from pluginrelease import api
from pluginrelease.core.apiserver import stored as releases


@dataclass(frozen=True)
class RaisedLogger:
    """``mark`` is the pod's `identity.pod_mark`; ``level`` is the level of Envoy's filter logger before."""

    namespace: str
    pod: str
    mark: str
    level: str


def store(raised: Collection[RaisedLogger]) -> list[api.RaisedLoggers]:
    """Return the stored form. It is short because the names of the pods of one workload begin alike."""
    groups = defaultdict[tuple[str, str, str], list[str]](list)
    for logger in sorted(raised, key=lambda logger: (logger.namespace, logger.pod, logger.mark)):
        head, dash, tail = logger.pod.rpartition("-")
        groups[logger.namespace, logger.level, head + dash].append(f"{tail} {logger.mark}")
    return [
        api.RaisedLoggers(namespace=namespace, level=level, names_begin=begin, pods=pods)
        for (namespace, level, begin), pods in groups.items()
    ]


def read(stored: Iterable[api.RaisedLoggers]) -> list[RaisedLogger]:
    """Return what the stored form says."""
    return [
        RaisedLogger(group.namespace, f"{group.names_begin}{tail}", mark, group.level)
        for group in stored
        for tail, _, mark in (line.partition(" ") for line in group.pods)
    ]


def read_noted(body: dict[str, Any]) -> list[RaisedLogger]:
    """Return the raised loggers that a PluginRelease records, given as the API server returns it.

    An entry that does not fit the model is skipped.
    """
    observations = releases.read_items(releases.read_path(body, "status", "checkpoint", "gateways"))
    noted = [releases.read_path(observation, "raisedLoggers") for observation in observations]
    found = []
    for note in (note for notes in noted for note in releases.read_items(notes)):
        with contextlib.suppress(ValueError):
            found.append(api.RaisedLoggers.model_validate(note))
    return read(found)
