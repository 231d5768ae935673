"""What is written to a gateway's namespace for every provider: names, ownership, and the copy of the pull secret.

The content of a provider's own object is in its module; `core.mesh.providers` knows which module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pluginrelease import api
from pluginrelease.core import revision as revisions
from pluginrelease.core import sources
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh.placement import Placement

JSON = dict[str, Any]

# leaves room for "-<10 hex>" and "-pull" in the 253 characters of a Kubernetes name
NAME_ROOM = 236
# seconds until the operator checks again if a provider's control plane is there
RECHECK = 30.0
# for an image by digest, an agent treats both alike (istio pkg/wasm/cache.go); for istiod they are two specs
PULL_POLICIES = ("IfNotPresent", "UNSPECIFIED_POLICY")


@dataclass(frozen=True)
class ResourceKind:
    """The kind of object that a provider's control plane reads.

    ``install``: what to do if the cluster lacks the kind.
    """

    group: str
    version: str
    name: str
    plural: str
    install: str

    @property
    def api_version(self) -> str:
        """Return the apiVersion as in manifests."""
        return f"{self.group}/{self.version}"


@dataclass(frozen=True)
class GatewayLabel:
    """The label by which a Higress finds its gateways. ``namespace`` is the installation's; None: all others."""

    namespace: str | None
    key: str
    value: str

    @classmethod
    def parse(cls, text: str) -> GatewayLabel | None:
        """Read ``[NAMESPACE:]KEY=VALUE``; None for anything else."""
        match = _GATEWAY_LABEL.fullmatch(text)
        return cls(match["namespace"], match["key"], match["value"]) if match else None

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


_GATEWAY_LABEL = re.compile(
    r"(?:(?P<namespace>[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?):)?"
    r"(?P<key>([a-z0-9][-a-z0-9.]{0,252}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)"
    r"=(?P<value>[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)"
)


@dataclass(frozen=True)
class MeshSettings:
    """Properties of a mesh installation that only its owner knows: settings of the operator.

    The defaults are those of the meshes' charts.
    """

    istio_root_namespace: str = "istio-system"
    istio_container: str = "istio-proxy"
    higress_labels: tuple[GatewayLabel, ...] = ()


@dataclass(frozen=True)
class Pods:
    """Where the gateway pods are: the namespace (None: all), their labels, their container.

    ``hint``: what to do if there are no such pods.
    """

    namespace: str | None
    # not part of the hash, because no dict can be; watches are stored by where pods are
    labels: Mapping[str, str] = field(hash=False)
    container: str
    hint: str = field(default="", compare=False)

    def __str__(self) -> str:
        where = f"namespace {self.namespace}" if self.namespace else "every namespace"
        labels = ",".join(f"{key}={value}" for key, value in sorted(self.labels.items()))
        return f"label {labels} and container {self.container}, in {where}"

    def shared_with(self, other: Pods) -> Pods | None:
        """Return where a pod would be that both select; None: there can be none."""
        namespaces = {self.namespace, other.namespace} - {None}
        contradict = any(other.labels.get(key, value) != value for key, value in self.labels.items())
        if len(namespaces) > 1 or contradict or self.container != other.container:
            return None
        return Pods(next(iter(namespaces), None), {**self.labels, **other.labels}, self.container)


@dataclass(frozen=True)
class InstallMarker:
    """Pods that show that a control plane reads a namespace: a pod with any of these sets of labels.

    ``missing``: the message if there is none. ``check``: raises `Refused` if the pods' own arguments say otherwise.
    """

    any_of: tuple[Mapping[str, str], ...]
    missing: Refused
    check: Callable[[Iterable[JSON]], None]


def name_object(placement: Placement) -> str:
    """Return the entry's ``objectName``; if unset, the name of its existing object; else ``<release>-<entry>``.

    From another namespace the name is ``<namespace>-<release>-<entry>-<hash>``, so that two releases never have the
    same. A name that is too long is cut and ends in the hash as well.
    """
    own, gateway = placement.metadata, placement.gateway
    if gateway.object_name is not None:
        return gateway.object_name
    row = placement.release.status.gateway(gateway.name)
    if row is not None and row.object is not None and row.object.namespace == gateway.namespace:
        return row.object.name  # an entry that was renamed keeps its object
    readable = f"{own.name}-{gateway.name}"
    if placement.is_local and len(readable) <= NAME_ROOM:
        return readable
    readable = readable if placement.is_local else f"{own.namespace}-{readable}"
    return f"{readable[:NAME_ROOM].rstrip('-.')}-{revisions.compute_digest([own.namespace, own.name, gateway.name])}"


def pull_secret_name(placement: Placement) -> str | None:
    """Return the name of the Secret that the gateways pull with.

    It is the release's own, its copy in another namespace, or an existing one.
    """
    image = sources.find_image(placement.spec.artifact)
    if image.gateway_pull_secret_ref is not None:
        return image.gateway_pull_secret_ref.name
    reference = image.pull_secret_ref
    if reference is None:
        return None
    return reference.name if placement.is_local else copied_secret_name(placement)


def copied_secret_name(placement: Placement) -> str:
    """Return the name of the copy in the gateway's namespace."""
    return name_copy(name_object(placement))


def name_copy(carrier: str) -> str:
    """Return the name of the pull secret's copy that belongs to the object of this name."""
    return f"{carrier}-pull"


def make_head(
    placement: Placement, artifact: api.ArtifactStatus, kind: ResourceKind, nudge: int = 0, pointers: Iterable[str] = ()
) -> JSON:
    """Return the object that carries a revision, without its spec.

    ``nudge`` counts how often its gateways were made to fetch again. The annotation is for people; `pull_policy` is for
    the control plane. ``pointers`` are the places of values of ``configFrom`` in its spec.
    """
    places = list(pointers)
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {
            **render_metadata(placement, name_object(placement)),
            "annotations": {
                **provenance(placement),
                api.REVISION_ANNOTATION: revisions.compute_identity(
                    placement.spec, artifact.digest, placement.config_digest
                ),
                **({api.REFETCH_ANNOTATION: str(nudge)} if nudge else {}),
                **({api.CONFIG_FROM_ANNOTATION: json.dumps(places)} if places else {}),
            },
        },
    }


def render_source(artifact: api.ArtifactStatus) -> JSON:
    """Return where gateways fetch the plugin: an image by its digest, or a URL with the SHA-256 of the module."""
    download = sources.split_download(artifact.image)
    if download is None:
        return {"url": f"oci://{artifact.image}"}
    url, sha256 = download
    return {"url": url, "sha256": sha256}


def pull_policy(nudge: int) -> str:
    """Return ``imagePullPolicy`` after so many nudges.

    It alternates, because only a changed spec reaches every gateway. The agent fetches again when the control plane
    sends the plugin (istio pkg/wasm/convert.go). Before 1.30 istiod does not send it when only metadata changed, and
    metadata does not pass Higress's MCP (pilot/pkg/bootstrap/config_compare.go). The agent removes the policy before
    Envoy sees the plugin.
    """
    return PULL_POLICIES[nudge % len(PULL_POLICIES)]


def without_nudge(spec: Any) -> Any:
    """Return a WasmPlugin's spec as it is without a nudge; the spec of another kind unchanged."""
    if not isinstance(spec, dict) or spec.get("imagePullPolicy") not in PULL_POLICIES:
        return spec
    return {**spec, "imagePullPolicy": pull_policy(0)}


def configuration(plugin: api.Plugin) -> JSON | None:
    """Return the configuration for the control plane: None for an empty one.

    To Envoy they are the same. If there was a configuration before, a server-side apply of ``{}`` merges to null, which
    the kind refuses; leaving the field out removes it.
    """
    return plugin.config or None


def render_vm_config(plugin: api.Plugin) -> JSON | None:
    """Return the module's environment in the format of Istio and Higress; None if it has none."""
    if not plugin.env:
        return None
    return {"env": [render_variable(entry) for entry in plugin.env]}


def render_variable(entry: api.EnvironmentVariable) -> JSON:
    """Return one variable: its value, or that it comes from the gateway."""
    if entry.value_from is not None:
        return {"name": entry.name, "valueFrom": entry.value_from}
    return {"name": entry.name, "valueFrom": "INLINE", "value": entry.value}


def read_environment(plugin: api.Plugin) -> dict[str, str | None]:
    """Return the environment as a gateway's dump shows it; None for a value that comes from the gateway."""
    return {entry.name: None if entry.value_from else entry.value or "" for entry in plugin.env or []}


def render_pull_secret(placement: Placement, dockerconfigjson: str) -> JSON:
    """Return the copy of the pull secret for another namespace.

    ``dockerconfigjson`` is base64, as in the Secret's data.
    """
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {**render_metadata(placement, copied_secret_name(placement)), "annotations": provenance(placement)},
        "data": {".dockerconfigjson": dockerconfigjson},
    }


def render_metadata(placement: Placement, name: str) -> JSON:
    """Return name, namespace and owner. An owner reference is set only where the garbage collector follows it."""
    own = placement.metadata
    owned = placement.is_local and not is_left_behind(placement)
    return {
        "name": name,
        "namespace": placement.gateway.namespace,
        "labels": {api.MANAGED_BY_LABEL: api.MANAGED_BY, api.UID_LABEL: own.uid},
        **({"ownerReferences": [placement.release.as_owner()]} if owned else {}),
    }


def is_left_behind(placement: Placement) -> bool:
    """Return True if the object of this entry stays after the release:

    ``deletionPolicy``; an adopted object by default.
    """
    return leaves(placement.spec.deletion_policy, is_adopted=is_adopted(placement))


def leaves(policy: str | None, *, is_adopted: bool) -> bool:
    """Return True if a ``deletionPolicy`` keeps an object.

    If unset, it keeps adopted objects and deletes created ones.
    """
    return policy == api.DeletionPolicy.ORPHAN or (policy is None and is_adopted)


def is_marked_adopted(thing: JSON) -> bool:
    """Return True if an object's own annotation says that it was adopted."""
    return (thing["metadata"].get("annotations") or {}).get(api.ADOPTED_ANNOTATION) == "true"


def is_adopted(placement: Placement) -> bool:
    """Return True if the entry's object was adopted."""
    row = placement.release.status.gateway(placement.name)
    return row is not None and row.adopted is not None


def provenance(placement: Placement) -> dict[str, str]:
    """Return annotations that name the release and the entry; names can be too long for labels."""
    own = placement.metadata
    return {
        api.RELEASE_ANNOTATION: f"{own.namespace}/{own.name}",
        api.GATEWAY_ANNOTATION: placement.name,
        **({api.ADOPTED_ANNOTATION: "true"} if is_adopted(placement) else {}),
    }
