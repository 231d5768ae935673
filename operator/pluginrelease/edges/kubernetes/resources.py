"""The kinds of objects that the operator knows, and their paths at the API server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pluginrelease import api
from pluginrelease.core import revision
from pluginrelease.core.mesh import providers, target

JSON = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """A kind with the names that the API server's paths use. ``group`` is empty for the core group."""

    group: str
    version: str
    plural: str

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of the collection, of one object, or of its subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if namespace else ""
        quoted_name = quote(name, safe="") if name else None
        return "/".join(part for part in (root + scope, self.plural, quoted_name, subresource) if part)


RELEASES = Resource(api.GROUP, api.VERSION, api.PLURAL)
PODS = Resource("", "v1", "pods")
SECRETS = Resource("", "v1", "secrets")
CONFIG_MAPS = Resource("", "v1", "configmaps")
NAMESPACES = Resource("", "v1", "namespaces")
LEASES = Resource("coordination.k8s.io", "v1", "leases")
EVENTS = Resource("events.k8s.io", "v1", "events")
CONTROLLER_REVISIONS = Resource("apps", "v1", revision.PLURAL)


def resource_for(kind: target.ResourceKind) -> Resource:
    """Return the resource of the objects that carry plugins, for one provider."""
    return Resource(kind.group, kind.version, kind.plural)


# by API version and kind, because kinds of several providers share a name
BY_KIND = {
    (api.API_VERSION, api.KIND): RELEASES,
    ("v1", "Secret"): SECRETS,
    ("v1", "ConfigMap"): CONFIG_MAPS,
    ("v1", "Pod"): PODS,
    ("v1", "Namespace"): NAMESPACES,
    ("coordination.k8s.io/v1", "Lease"): LEASES,
    ("events.k8s.io/v1", "Event"): EVENTS,
    (revision.API_VERSION, revision.KIND): CONTROLLER_REVISIONS,
    **{(kind.api_version, kind.name): resource_for(kind) for kind in providers.TARGETS},
}


def type_meta(resource: Resource) -> dict[str, str]:
    """Return ``apiVersion`` and ``kind`` of a resource, which items of a list lack."""
    [(version, kind)] = [known for known, listed in BY_KIND.items() if listed == resource]
    return {"apiVersion": version, "kind": kind}


def path_of(thing: JSON) -> str:
    """Return the URL path of an object."""
    metadata = thing["metadata"]
    return BY_KIND[thing["apiVersion"], thing["kind"]].path(metadata["namespace"], metadata["name"])


def collection_of(thing: JSON) -> str:
    """Return the URL path of an object's collection."""
    return BY_KIND[thing["apiVersion"], thing["kind"]].path(thing["metadata"]["namespace"])
