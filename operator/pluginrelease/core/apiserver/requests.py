"""Name what a request to the API server is about, in few words, as labels of a metric."""

from __future__ import annotations

from dataclasses import dataclass

# what the operator asks for; all others have one common label
RESOURCES = frozenset(
    (
        "configmaps",
        "controllerrevisions",
        "events",
        "leases",
        "namespaces",
        "pluginreleases",
        "pods",
        "secrets",
        "wasmplugins",
    )
)
SUBRESOURCES = frozenset(("log", "portforward", "status"))
OTHER = "other"

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class RequestClass:
    """The verb as RBAC calls it, and the resource with its subresource, such as ``pods/log``."""

    verb: str
    resource: str


def classify(method: str, path: str, *, is_watch: bool = False) -> RequestClass:
    """Return the class of a request, by the layout of the API server's paths."""
    parts = [part for part in path.split("/") if part]
    rest = parts[3:] if parts[:1] == ["apis"] else parts[2:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    resource = name_resource(rest)
    verb = _VERBS.get(method) or ("watch" if is_watch else "get" if len(rest) > 1 else "list")
    return RequestClass(verb, resource)


def name_resource(rest: list[str]) -> str:
    """Return the resource from the part of a path after group, version and namespace."""
    if not rest or rest[0] not in RESOURCES:
        return OTHER
    return f"{rest[0]}/{rest[2]}" if len(rest) > 2 and rest[2] in SUBRESOURCES else rest[0]
