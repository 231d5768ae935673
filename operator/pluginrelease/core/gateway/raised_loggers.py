"""Log levels that the operator raised on pods, to be put back, and their stored form: pods of one level together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pluginrelease import api


@dataclass(frozen=True)
class RaisedLogger:
    """``mark`` is the pod's `identity.pod_mark`; ``level`` that of Envoy's filter logger before."""

    namespace: str
    pod: str
    mark: str
    level: str


def store(raised: Collection[RaisedLogger]) -> list[api.RaisedLoggers]:
    """Return the stored form: the names of the pods of one workload begin alike."""
    groups = defaultdict[tuple[str, str, str], list[str]](list)
    for one in sorted(raised, key=lambda one: (one.namespace, one.pod, one.mark)):
        head, dash, tail = one.pod.rpartition("-")
        groups[one.namespace, one.level, head + dash].append(f"{tail} {one.mark}")
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
