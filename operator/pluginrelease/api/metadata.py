"""Names that other programs see: group, kind, labels, annotations, the finalizer; and the base of every model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from pluginrelease.api.times import Time

GROUP = "pluginrelease.io"
VERSION = "v1alpha1"
KIND = "PluginRelease"
PLURAL = "pluginreleases"
SINGULAR = "pluginrelease"
SHORT_NAME = "prel"
CATEGORIES = ("all", "wasm")
API_VERSION = f"{GROUP}/{VERSION}"

FIELD_MANAGER = "pluginrelease"
FINALIZER = f"{GROUP}/finalizer"
# on objects that we write: their release. Its name may be longer than a label's 63 characters: hence annotations.
UID_LABEL = f"{GROUP}/uid"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "pluginrelease"
RELEASE_ANNOTATION = f"{GROUP}/release"
# on objects that we write: their entry of spec.gateways
GATEWAY_ANNOTATION = f"{GROUP}/gateway"
# on an adopted object: "true", so that this is known even if the status was lost
ADOPTED_ANNOTATION = f"{GROUP}/adopted"
# on a WasmPlugin: its revision
REVISION_ANNOTATION = f"{GROUP}/revision"
# on a WasmPlugin: how often its gateways were made to fetch again (caused by `target.pull_policy`)
REFETCH_ANNOTATION = f"{GROUP}/refetch"
# on a WasmPlugin: the places in its spec that have values of configFrom, as JSON Pointers, so that tools can hide them
CONFIG_FROM_ANNOTATION = f"{GROUP}/config-from"
# on a PluginRelease, actions: the operator acts on each value once and copies it to status.handled. `retry` and `on`
# take any token. `rollback-to` takes a revision of the history; append ":" and any token to ask for the same one again.
# `off` takes a reason after any token and ": ".
RETRY_ANNOTATION = f"{GROUP}/retry"
ROLLBACK_ANNOTATION = f"{GROUP}/rollback-to"
OFF_ANNOTATION = f"{GROUP}/off"
ON_ANNOTATION = f"{GROUP}/on"
COMMAND_ANNOTATIONS = (OFF_ANNOTATION, ON_ANNOTATION, ROLLBACK_ANNOTATION, RETRY_ANNOTATION)
# a value instead of a revision: the objects as they were before adoption
ADOPTED_WISH = "adopted"
# on a ControllerRevision: the reference as the spec named it, for people
REF_ANNOTATION = f"{GROUP}/ref"
# on a Namespace: the namespaces whose releases may write here, a comma-separated list or "*"
ALLOWED_NAMESPACES_ANNOTATION = f"{GROUP}/allowed-namespaces"
# on a release: the entries whose adopted objects may lose fields; names of entries, or *
REMOVE_FOREIGN_FIELDS_ANNOTATION = f"{GROUP}/remove-foreign-fields"

MAX_GATEWAYS = 64
MAX_POD_ROWS = 40
# pods of one release; with more of them a write is refused
MAX_PODS = 2000
MAX_OBSERVED_PODS = 2000
# lines of an entry's checkpoint: per pod the run before the write, the current run, and its silence
MAX_POD_NOTES = 4 * MAX_OBSERVED_PODS
MESSAGE_MAX = 2048
# of the rows of entries and pods
ENTRY_MESSAGE_MAX = 512
# of the reason for `off`
SWITCH_REASON_MAX = 256


class Model(BaseModel):
    """Base of the models: camelCase in JSON, frozen in the program. Only the API server rejects unknown fields."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def wire(self) -> dict[str, Any]:
        """Return the JSON form: camelCase, without unset fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Metadata(Model):
    """The part of an object's metadata that the operator reads."""

    name: str
    namespace: str
    uid: str
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    finalizers: list[str] = Field(default_factory=list)
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
