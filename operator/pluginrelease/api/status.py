"""``status``: what the operator observed, and what it needs after a restart."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic.config import JsonDict

from pluginrelease.api.conditions import Condition
from pluginrelease.api.metadata import (
    ENTRY_MESSAGE_MAX,
    MAX_GATEWAYS,
    MAX_OBSERVED_PODS,
    MAX_POD_NOTES,
    MAX_POD_ROWS,
    MESSAGE_MAX,
    SWITCH_REASON_MAX,
    Model,
)
from pluginrelease.api.reasons import Reason
from pluginrelease.api.spec import Attachment, Selector, TargetReference
from pluginrelease.api.times import MicroTime, Time
from pluginrelease.api.values import PodNote, RaisedPod

# The status of a new object until the operator has reconciled it, so that no column of `kubectl get` is blank. kstatus
# reads observedGeneration, as with Flux. The condition is what Gateway API gives a new object: its time is the epoch.
EPOCH = "1970-01-01T00:00:00Z"
UNSEEN: dict[str, Any] = {
    "observedGeneration": -1,
    "phase": "New",
    "summary": {"gateways": "-", "pods": "-", "desired": 0, "loaded": 0, "failed": 0},
    "conditions": [
        {
            "type": "Ready",
            "status": "Unknown",
            "reason": Reason.PENDING.value,
            "message": (
                "No operator has reconciled this release yet. Check that an operator runs and watches this namespace"
            ),
            "lastTransitionTime": EPOCH,
        }
    ],
}


def _is_unseen(condition: Any) -> bool:
    """Return True for the condition of a new object, in the words of any version."""
    return isinstance(condition, dict) and (condition.get("reason"), condition.get("lastTransitionTime")) == (
        Reason.PENDING.value,
        EPOCH,
    )


BY_NAME: JsonDict = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class ArtifactStatus(Model):
    """The artifact that the operator last resolved, fetched and checked."""

    ref: str = Field(description="The reference from the spec; with semver, including the selected tag.")
    semver: str | None = Field(default=None, description="The semver range of the spec, if it has one.")
    asked_at: Time | None = Field(default=None, description="When the operator last resolved the reference.")
    image: str = Field(description="The repository or URL with the digest, as the operator writes it to gateways.")
    digest: str = Field(description="Digest of the image's manifest, or of the module on an HTTP server.")
    wasm_sha256: str = Field(description="SHA-256 of the .wasm file.")
    size: int = Field(description="Size of the .wasm file in bytes.", json_schema_extra={"format": "int64"})
    layout: str = Field(
        description="How the image contains the module: DockerCompat, OCICompat or OCIArtifact. Download: a file."
    )
    abi: str | None = Field(default=None, description="Proxy-Wasm ABI version that the module exports.")
    toolchain: str | None = Field(default=None, description="Compiler or SDK of the module, with its version if known.")
    index: str | None = Field(default=None, description="Digest of the image index, if the reference named one.")
    signer: str | None = Field(
        default=None, description="Who signed the image: the name of a key, or the identity of a keyless signature."
    )
    policy: str | None = Field(
        default=None, description="Hash of the artifact.verify that the signature passed: ten hex digits."
    )


class ObjectStatus(Model):
    """The object of an entry of spec.gateways."""

    api_version: str = Field(description="API version of the object.")
    kind: str = Field(description="Kind of the object: WasmPlugin.")
    namespace: str = Field(description="Namespace of the object: the entry's namespace.")
    name: str = Field(description="Name of the object.")
    uid: str | None = Field(default=None, description="UID of the object.")


class StableRevision(Model):
    """What a rollback of an entry restores: the last revision that ran in all its pods, and which pods these were."""

    revision: str = Field(description="The revision, as in status.history.")
    selector: Selector | None = Field(default=None, description="The selector of the entry at that time.")
    target_refs: Annotated[list[TargetReference], Field(max_length=1)] | None = Field(
        default=None, description="The targetRefs of the entry at that time."
    )

    @property
    def attachment(self) -> Attachment:
        """Return how the entry named its gateway pods at that time."""
        return Attachment(self.selector, self.target_refs)


class Watch(Model):
    """What a rollback restores if the stable revision fails within rollout.watchFor."""

    since: Time = Field(description="When the stable revision first ran in all pods of the entry.")
    revision: str | None = Field(
        default=None,
        description="The stable revision before. Unset: a rollback restores the adopted object, or removes the plugin.",
    )
    selector: Selector | None = Field(default=None, description="The selector of the entry at that time.")
    target_refs: Annotated[list[TargetReference], Field(max_length=1)] | None = Field(
        default=None, description="The targetRefs of the entry at that time."
    )


class GatewayState(StrEnum):
    """State of an entry of spec.gateways."""

    LOADED = "Loaded"
    PENDING = "Pending"
    UNHEALTHY = "Unhealthy"
    UNKNOWN = "Unknown"
    NOT_PLACED = "NotPlaced"
    REMOVING = "Removing"
    OFF = "Off"


class GatewayStatus(Model):
    """One entry of spec.gateways: its object, its revisions and its state."""

    name: str = Field(description="Name of the entry.")
    object: ObjectStatus | None = Field(default=None, description="The object of this entry.")
    revision: str | None = Field(default=None, description="The revision that its gateway pods should run now.")
    stable: StableRevision | None = Field(
        default=None,
        description=(
            "The last revision that ran in all its pods. A rollback restores it. Unset: no revision ran "
            "before; a rollback then restores the adopted object, or removes the plugin."
        ),
    )
    watch: Watch | None = Field(
        default=None,
        description="Set while the operator watches the stable revision, for rollout.watchFor after it ran everywhere.",
    )
    adopted: str | None = Field(
        default=None,
        description="Name of the ControllerRevision with the adopted object as it was before.",
    )
    state: GatewayState = Field(
        description=(
            "Loaded, Pending, Unhealthy and Unknown summarize the states of its pods. NotPlaced: the operator "
            "could not write an object for it. Removing: the spec no longer has the entry, but its object "
            "still exists. Off: the release is switched off."
        )
    )
    reason: str = Field(description="Reason, as one CamelCase word.")
    message: Annotated[str, Field(max_length=ENTRY_MESSAGE_MAX)] = Field(
        default="", description="What the operator observed, and what to do next."
    )
    desired: int = Field(default=0, description="Number of gateway pods that the entry selects.")
    loaded: int = Field(default=0, description="Number of these pods that run the revision.")
    failed: int = Field(default=0, description="Number of these pods that reject it.")


class PodStatus(Model):
    """State of one gateway pod."""

    gateway: str | None = Field(default=None, description="Name of the entry of spec.gateways that selects the pod.")
    name: str = Field(description="Name of the pod.")
    namespace: str = Field(description="Namespace of the pod.")
    state: Literal["Loaded", "Pending", "Unhealthy", "Unknown"] = Field(description="State of the plugin in the pod.")
    revision: str | None = Field(default=None, description="The revision that the pod was observed to run.")
    reason: str = Field(description="Reason, as one CamelCase word.")
    message: Annotated[str, Field(max_length=ENTRY_MESSAGE_MAX)] = Field(
        default="", description="What the operator observed, with Envoy's own message if there is one."
    )


class RaisedLoggers(Model):
    """Log levels that the operator raised and must restore. Recorded before it raises them."""

    namespace: str = Field(description="Namespace of the pods.")
    level: str = Field(description="Level of Envoy's filter logger before.")
    names_begin: str = Field(default="", description="Common beginning of the pods' names.")
    pods: Annotated[list[RaisedPod], Field(max_length=MAX_OBSERVED_PODS)] = Field(
        description="Rest of each name, a space, and the short hash of the pod's UID."
    )


class Refetch(Model):
    """How often the operator made gateways fetch the plugin again."""

    count: int = Field(description="Number of refetches. The WasmPlugin carries the same number.")
    attempts: int = Field(description="Number of refetches since all gateways last ran the plugin.")
    at: MicroTime = Field(description="When the operator last did so.")


class Observation(Model):
    """State of the gateways of one entry before the write. A restarted operator continues from it."""

    name: str = Field(default="", description="Name of the entry of spec.gateways.")
    revision: str = Field(description="The revision of this observation.")
    load_hash: str = Field(
        default="", description="Hash of what a gateway loads: artifact, plugin name, configuration and failStrategy."
    )
    since: MicroTime = Field(
        description=(
            "Time before the write. Older log lines and Envoy processes give no information about this revision."
        )
    )
    written_at: Time | None = Field(
        default=None,
        description="When the API server accepted the first write of the revision. Later writes do not change it.",
    )
    deliverable_since: Time | None = Field(
        default=None,
        description=(
            "Since when the control plane can send the revision again, after an object had prevented that "
            "(ControlPlaneStuck). Gateways have checks.load.timeout from then on."
        ),
    )
    load_hash_before: str = Field(default="", description="The loadHash that gateways had loaded before.")
    pods: Annotated[list[PodNote], Field(max_length=MAX_POD_NOTES)] = Field(
        default_factory=list,
        description=(
            "One line for each run of a pod's Envoy, with short hashes of the pod's UID and of the start. L: "
            "it runs the revision. B: it runs the previous one. Then the gateway's counters before the write. "
            "S: it has not answered since. Hashes alone: it runs the revision. docs/architecture.md describes "
            "the format."
        ),
    )
    shared: Annotated[list[str], Field(max_length=MAX_POD_NOTES)] = Field(
        default_factory=list, description="Images and digests. The lines of pods refer to them by number, from 0."
    )
    raised_loggers: Annotated[list[RaisedLoggers], Field(max_length=MAX_OBSERVED_PODS)] = Field(
        default_factory=list, description="Log levels to restore."
    )
    probes_failed_before: Annotated[list[str], Field(max_length=16)] = Field(
        default_factory=list,
        description=(
            "Probes that failed in every pod before the write. If one succeeds now, the pod runs the new revision."
        ),
    )
    probes_failing_since: MicroTime | None = Field(
        default=None, description="Start of the current series of probe failures."
    )
    refetch: Refetch | None = Field(default=None, description="How often the operator made gateways fetch again.")


class RolloutFailure(Model):
    """Why a revision failed."""

    revision: str = Field(description="The revision that failed.")
    gateways: Annotated[list[str], Field(max_length=MAX_GATEWAYS)] = Field(
        default_factory=list, description="The entries of spec.gateways that the operator rolls back."
    )
    held: bool | None = Field(
        default=None,
        description=(
            "If true, the failed revision stays, because rollout.onFailure is Hold and the gateways still serve."
        ),
    )
    reason: str = Field(description="Reason, as one CamelCase word.")
    message: Annotated[str, Field(max_length=MESSAGE_MAX)] = Field(description="What the gateways reported.")
    at: Time = Field(description="When the revision failed.")


class Detour(Model):
    """How the operator recovers gateways whose Envoy rejects what a rollback restored."""

    via: str | None = Field(
        default=None, description="A kept revision with another module that runs first, before the restored one."
    )
    tried_others: bool | None = Field(default=None, description="True if a revision with another module was tried.")
    restarted: Annotated[list[str], Field(max_length=MAX_OBSERVED_PODS)] = Field(
        default_factory=list,
        description="Short hashes of the UIDs of pods whose Envoy was restarted.",
    )
    restarted_at: MicroTime | None = Field(default=None, description="When the last of them was restarted.")
    off_since: MicroTime | None = Field(
        default=None, description="Since when the plugin has been removed, to let old listeners drain."
    )
    was_off: bool | None = Field(default=None, description="True if that time has passed.")
    given_up: bool | None = Field(default=None, description="True if no way to recover them is left.")


class GatewayFallback(Model):
    """Progress of one entry in a rollback."""

    name: str = Field(description="Name of the entry.")
    loaded_at: Time | None = Field(
        default=None, description="When all its gateway pods first ran the restored revision."
    )
    detour: Detour | None = Field(
        default=None, description="How the operator recovers gateways that reject the restored revision."
    )


class RolloutStatus(Model):
    """The current rollout, or the last one."""

    spec_hash: str = Field(
        description="Hash of the parts of the spec that make a revision. Another hash starts another rollout."
    )
    config_digest: Annotated[str, Field(max_length=64)] | None = Field(
        default=None,
        description=(
            "Keyed hash of the values of configFrom, with a key in a Secret of the release. Another hash starts "
            "another rollout."
        ),
    )
    started_at: Time = Field(description="When the rollout started.")
    completed_at: Time | None = Field(
        default=None, description="When all gateway pods of all placed entries first ran the revision."
    )
    rollback_to: str | None = Field(
        default=None, description="The old revision that a user requested instead of the spec's."
    )
    failure: RolloutFailure | None = Field(
        default=None,
        description=(
            "Why the rollout failed. The operator does not try the revision again until the target revision "
            "changes or a user requests a retry."
        ),
    )
    fallbacks: Annotated[list[GatewayFallback], Field(max_length=MAX_GATEWAYS)] = Field(
        default_factory=list,
        description="Progress of each entry in the rollback.",
        json_schema_extra=BY_NAME,
    )


class GatewaysSummary(Model):
    """Counts over all entries of spec.gateways, for columns and scripts."""

    gateways: str = Field(description="Entries with all pods loaded / all entries.")
    pods: str = Field(description="Pods that run their revision / all selected pods.")
    desired: int = Field(description="Number of selected gateway pods.")
    loaded: int = Field(description="Number of gateway pods that run their revision.")
    failed: int = Field(description="Number of these pods that reject it.")


class Handled(Model):
    """Last values of the action annotations that the operator acted on."""

    retry: str | None = Field(
        default=None, description="Last value of the annotation pluginrelease.io/retry that the operator acted on."
    )
    rollback_to: str | None = Field(
        default=None,
        description="Last value of the annotation pluginrelease.io/rollback-to that the operator acted on.",
    )
    off: str | None = Field(
        default=None, description="Last value of the annotation pluginrelease.io/off that the operator acted on."
    )
    on: str | None = Field(
        default=None, description="Last value of the annotation pluginrelease.io/on that the operator acted on."
    )


class SwitchedOff(Model):
    """A user switched the release off: no gateway has its plugin until a user switches it on."""

    at: Time = Field(description="When the operator saw the annotation.")
    reason: Annotated[str, Field(max_length=SWITCH_REASON_MAX)] = Field(
        default="", description="The reason, from the annotation pluginrelease.io/off."
    )


class HistoryState(StrEnum):
    """State of a revision in the history."""

    DEPLOYING = "Deploying"
    STABLE = "Stable"
    SUPERSEDED = "Superseded"
    ABORTED = "Aborted"
    FAILED = "Failed"


class HistoryEntry(Model):
    """One revision that the operator wrote to gateways."""

    revision: str = Field(description="Name of the revision: a hash.")
    number: int = Field(description="Number of the rollout; each one counts up.", json_schema_extra={"format": "int64"})
    state: HistoryState = Field(
        description=(
            "Deploying: its rollout continues. Stable: it runs on all gateway pods. Superseded: it ran on all "
            "of them until the next one did. Aborted: the next one started first. Failed: it did not run on "
            "all of them."
        )
    )
    ref: str = Field(description="The reference from the spec.")
    digest: str = Field(description="Digest of the image's manifest.")
    reason: str | None = Field(default=None, description="Why it failed, in one CamelCase word.")
    first_deployed: Time = Field(description="When the operator first wrote it.")
    last_deployed: Time = Field(description="When the operator last wrote it.")


class Checkpoint(Model):
    """Internal records of the operator: what it needs if it restarts now."""

    gateways: Annotated[list[Observation], Field(max_length=MAX_GATEWAYS)] = Field(
        default_factory=list, description="One record for each entry.", json_schema_extra=BY_NAME
    )


class Status(Model):
    """What the operator observed. Only the operator writes it."""

    observed_generation: int = Field(
        default=-1,
        description="Generation of the spec that the operator last reconciled; -1 before the first pass.",
        json_schema_extra={"format": "int64"},
    )
    phase: str | None = Field(
        default=None, description="Summary in one word, for people. Programs should read the conditions."
    )
    summary: GatewaysSummary | None = Field(default=None, description="Counts over all entries.")
    conditions: Annotated[list[Condition], Field(max_length=16)] = Field(
        default_factory=list,
        description="State of the release, one condition of each type. Ready always exists.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    target_revision: str | None = Field(
        default=None, description="The revision that the spec asks for: a hash of artifact, plugin and pull secrets."
    )
    stable_revision: str | None = Field(
        default=None, description="The last revision that ran in all pods of all placed entries."
    )
    artifact: ArtifactStatus | None = Field(
        default=None, description="The artifact that the operator last resolved, fetched and checked."
    )
    gateways: Annotated[list[GatewayStatus], Field(max_length=2 * MAX_GATEWAYS)] = Field(
        default_factory=list,
        description="One row for each entry of spec.gateways, and for each removed entry whose object still exists.",
        json_schema_extra=BY_NAME,
    )
    pods: Annotated[list[PodStatus], Field(max_length=MAX_POD_ROWS)] = Field(
        default_factory=list, description="Up to 40 gateway pods of all entries, failures first."
    )
    rollout: RolloutStatus | None = Field(default=None, description="The current rollout, or the last one.")
    history: Annotated[list[HistoryEntry], Field(max_length=102)] = Field(
        default_factory=list, description="Revisions that the operator wrote to gateways, newest first."
    )
    switched_off: SwitchedOff | None = Field(
        default=None,
        description=(
            "Set from pluginrelease.io/off until pluginrelease.io/on. Another spec, a tag or a retry does not end it."
        ),
    )
    handled: Handled | None = Field(
        default=None, description="Last values of the action annotations that the operator acted on."
    )
    checkpoint: Checkpoint | None = Field(
        default=None, description="Internal records of the operator. Do not rely on their format."
    )

    @model_validator(mode="before")
    @classmethod
    def leave_out_unseen(cls, found: Any) -> Any:
        """Leave out what only fills the columns of a new object (`UNSEEN`)."""
        if not isinstance(found, dict):
            return found
        conditions = [condition for condition in found.get("conditions") or [] if not _is_unseen(condition)]
        empty = {part for part in ("phase", "summary") if found.get(part) == UNSEEN[part]}
        kept = {key: value for key, value in found.items() if key not in empty}
        return {**kept, "conditions": conditions} if "conditions" in found else kept

    def gateway(self, name: str) -> GatewayStatus | None:
        """Return the row of the entry of this name, or None."""
        return next((row for row in self.gateways if row.name == name), None)

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of this type, or None."""
        return next((condition for condition in self.conditions if condition.type == kind), None)

    def observation(self, name: str) -> Observation | None:
        """Return the notes on the entry of this name, or None."""
        noted = self.checkpoint.gateways if self.checkpoint else []
        return next((observation for observation in noted if observation.name == name), None)
