"""Names that others see: group, kind, labels, annotations, the finalizer; and what every model has."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

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
# on what we write: whose it is. Names can be longer than a label's 63 characters, so they are annotations.
UID_LABEL = f"{GROUP}/uid"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "pluginrelease"
RELEASE_ANNOTATION = f"{GROUP}/release"
# on what we write: the entry of spec.gateways that it is for
GATEWAY_ANNOTATION = f"{GROUP}/gateway"
# on what we write over an adopted object: "true", so that it is known also when the status was lost
ADOPTED_ANNOTATION = f"{GROUP}/adopted"
# on a WasmPlugin: the revision it carries
REVISION_ANNOTATION = f"{GROUP}/revision"
# on a WasmPlugin: how often its gateways were made to fetch again (`target.pull_policy` is what makes them)
REFETCH_ANNOTATION = f"{GROUP}/refetch"
# on a PluginRelease, actions: each value is acted on once and then echoed in status.handled. `retry` takes any token;
# `rollback-to` takes a revision of the history, with ":" and any token behind it to ask for the same one again.
RETRY_ANNOTATION = f"{GROUP}/retry"
ROLLBACK_ANNOTATION = f"{GROUP}/rollback-to"
# on a ControllerRevision: the reference as the spec named it, for people
REF_ANNOTATION = f"{GROUP}/ref"
# on a Namespace: which namespaces' releases may write here, a comma-separated list or "*"
ALLOWED_NAMESPACES_ANNOTATION = f"{GROUP}/allowed-namespaces"

MAX_GATEWAYS = 64
MAX_POD_ROWS = 40
# pods of one release; more of them are refused before the write
MAX_PODS = 2000
MAX_OBSERVED_PODS = 2000
# lines of an entry's checkpoint: of each pod the run before the write, the one of now, and silence
MAX_POD_NOTES = 4 * MAX_OBSERVED_PODS
MESSAGE_MAX = 2048
# of an entry's and a pod's row
ENTRY_MESSAGE_MAX = 512


class Model(BaseModel):
    """camelCase on the wire, frozen in the program; unknown fields are the API server's business."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def wire(self) -> dict[str, Any]:
        """The JSON form: camelCase, without what is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Metadata(Model):
    """The part of an object's metadata that the operator reads."""

    name: str
    namespace: str
    uid: str
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    finalizers: list[str] = Field(default_factory=list)
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
