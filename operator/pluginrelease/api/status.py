"""``status``: what was seen, and what must be known after a restart of the operator."""

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
    Model,
)
from pluginrelease.api.reasons import Reason
from pluginrelease.api.spec import Selector
from pluginrelease.api.values import PodNote, RaisedPod

# What a new object says of itself until the operator has looked: no column is blank that others follow. kstatus goes by
# observedGeneration, as with Flux. The condition is what Gateway API gives a new object: its time is the epoch.
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
            "message": "No operator has looked at it yet: see that one runs and watches this namespace",
            "lastTransitionTime": EPOCH,
        }
    ],
}

BY_NAME: JsonDict = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class ArtifactStatus(Model):
    """The artifact that was resolved, fetched and checked last."""

    ref: str = Field(description="The reference as the spec names it, with semver that of the tag that was picked.")
    semver: str | None = Field(default=None, description="The range that the tag was picked from.")
    asked_at: str | None = Field(
        default=None,
        description="When the registry was last asked what the reference names.",
        json_schema_extra={"format": "date-time"},
    )
    image: str = Field(description="The repository with the digest: what is written to the gateways.")
    digest: str = Field(description="Digest of the image's manifest.")
    wasm_sha256: str = Field(description="SHA-256 of the bytes of the .wasm file.")
    size: int = Field(description="Size of the .wasm file in bytes.", json_schema_extra={"format": "int64"})
    layout: str = Field(description="How the image carries the module: DockerCompat, OCICompat or OCIArtifact.")
    abi: str | None = Field(default=None, description="The proxy-wasm ABI version the module exports.")
    toolchain: str | None = Field(default=None, description="What built the module, with its version where known.")
    index: str | None = Field(
        default=None, description="Digest of the image index that the reference named, where it named one."
    )
    signer: str | None = Field(
        default=None, description="Whose signature was verified: the name of a key, or who signed without one."
    )
    policy: str | None = Field(
        default=None, description="Which artifact.verify the signature was verified by: ten hex digits of it."
    )


class ObjectStatus(Model):
    """The object that was written for an entry of spec.gateways."""

    api_version: str = Field(description="Its API version.")
    kind: str = Field(description="WasmPlugin.")
    namespace: str = Field(description="Its namespace: that of the entry.")
    name: str = Field(description="Its name.")
    uid: str | None = Field(default=None, description="UID of the object.")


class StableRevision(Model):
    """What an entry falls back to: the revision that was last seen running in all of its pods, and where."""

    revision: str = Field(description="The revision, as in status.history.")
    selector: Selector | None = Field(default=None, description="The selector with which it was seen running.")


class GatewayState(StrEnum):
    """How an entry of spec.gateways stands."""

    LOADED = "Loaded"
    PENDING = "Pending"
    UNHEALTHY = "Unhealthy"
    UNKNOWN = "Unknown"
    NOT_PLACED = "NotPlaced"
    REMOVING = "Removing"


class GatewayStatus(Model):
    """One entry of spec.gateways: its object, what runs, what is put back after a failure, and what was seen."""

    name: str = Field(description="Name of the entry.")
    object: ObjectStatus | None = Field(default=None, description="The object that was written for it.")
    revision: str | None = Field(default=None, description="The revision that its gateway pods are to run now.")
    stable: StableRevision | None = Field(
        default=None,
        description=(
            "The revision that was last seen running in all its pods: after a failure it is put back. Unset: nothing "
            "ran before, and after a failure the adopted object is put back, or the plugin is taken off."
        ),
    )
    adopted: str | None = Field(
        default=None,
        description="Name of the ControllerRevision that keeps the object as it was before it was adopted.",
    )
    state: GatewayState = Field(
        description=(
            "Loaded, Pending, Unhealthy and Unknown are what the signs in its pods amount to. NotPlaced: nothing could "
            "be written for it. Removing: the entry is gone from the spec, its object not yet."
        )
    )
    reason: str = Field(description="Why, in one CamelCase word.")
    message: Annotated[str, Field(max_length=ENTRY_MESSAGE_MAX)] = Field(
        default="", description="What was seen, and what to do."
    )
    desired: int = Field(default=0, description="How many gateway pods it selects.")
    loaded: int = Field(default=0, description="How many of them were seen running the revision.")
    failed: int = Field(default=0, description="How many of them were seen refusing it.")


class PodStatus(Model):
    """What was seen in one gateway pod."""

    gateway: str | None = Field(default=None, description="The entry of spec.gateways that selects it.")
    name: str = Field(description="Name of the pod.")
    namespace: str = Field(description="Namespace of the pod.")
    state: Literal["Loaded", "Pending", "Unhealthy", "Unknown"] = Field(description="What the signs in it amount to.")
    revision: str | None = Field(default=None, description="The revision that was seen running in it.")
    reason: str = Field(description="Why, in one CamelCase word.")
    message: Annotated[str, Field(max_length=ENTRY_MESSAGE_MAX)] = Field(
        default="", description="What was seen, where it can in the gateway's own words."
    )


class RaisedLoggers(Model):
    """Log levels that the operator raised on pods, to be put back; noted before they are raised."""

    namespace: str = Field(description="Namespace of the pods.")
    level: str = Field(description="The level of Envoy's filter logger before.")
    names_begin: str = Field(default="", description="What the names of these pods begin with.")
    pods: Annotated[list[RaisedPod], Field(max_length=MAX_OBSERVED_PODS)] = Field(
        description="The rest of each name, a blank, and the short hash of the pod's UID."
    )


class Refetch(Model):
    """How often gateways that could not fetch the plugin were made to try again."""

    count: int = Field(description="How often; the WasmPlugin carries the same number.")
    attempts: int = Field(description="How often since everything ran.")
    at: str = Field(description="When last.", json_schema_extra={"format": "date-time"})


class Observation(Model):
    """What the look at one entry's gateways started from: a restarted operator goes on from it."""

    name: str = Field(default="", description="Name of the entry of spec.gateways.")
    revision: str = Field(description="The revision this observation is about.")
    load_hash: str = Field(
        default="", description="What a gateway loads of it: artifact, plugin name, configuration and failStrategy."
    )
    since: str = Field(
        description="Taken before the write: log lines and Envoys older than it say nothing about this revision.",
        json_schema_extra={"format": "date-time"},
    )
    load_hash_before: str = Field(default="", description="What the gateways had loaded before, as loadHash.")
    pods: Annotated[list[PodNote], Field(max_length=MAX_POD_NOTES)] = Field(
        default_factory=list,
        description=(
            "One line for one run of a pod's Envoy, of short hashes of its UID and its start. L: seen running the "
            "revision; B: seen running what ran before; then the gateway's counters before the write; S: silent since. "
            "Hashes alone: it runs the revision, and nothing else has to be known. docs/architecture.md says more."
        ),
    )
    shared: Annotated[list[str], Field(max_length=MAX_POD_NOTES)] = Field(
        default_factory=list, description="Images and digests that the lines of pods refer to by their number, from 0."
    )
    raised_loggers: Annotated[list[RaisedLoggers], Field(max_length=MAX_OBSERVED_PODS)] = Field(
        default_factory=list, description="Log levels to be put back."
    )
    probes_failed_before: Annotated[list[str], Field(max_length=16)] = Field(
        default_factory=list,
        description="Probes that failed in every pod before the write: now they tell new from old.",
    )
    probes_failing_since: str | None = Field(
        default=None,
        description="Since when probes fail without a break.",
        json_schema_extra={"format": "date-time"},
    )
    refetch: Refetch | None = Field(default=None, description="How often gateways were made to fetch again.")


class RolloutFailure(Model):
    """Why a revision did not come to run everywhere."""

    revision: str = Field(description="The revision that failed.")
    gateways: Annotated[list[str], Field(max_length=MAX_GATEWAYS)] = Field(
        default_factory=list, description="The entries of spec.gateways that go back to what they ran before."
    )
    held: bool | None = Field(
        default=None, description="true: nothing is put back, as rollout.onFailure is Hold and the gateways serve."
    )
    reason: str = Field(description="Why, in one CamelCase word.")
    message: Annotated[str, Field(max_length=MESSAGE_MAX)] = Field(description="What the gateways said.")
    at: str = Field(description="When.", json_schema_extra={"format": "date-time"})


class Detour(Model):
    """How gateways are healed whose Envoy refuses, or does not take, what is put back after a failure."""

    via: str | None = Field(
        default=None, description="A kept revision of other bytes, that runs before the one that is put back."
    )
    tried_others: bool | None = Field(default=None, description="Whether one of other bytes has had its turn.")
    restarted: Annotated[list[str], Field(max_length=MAX_OBSERVED_PODS)] = Field(
        default_factory=list,
        description="Pods whose Envoy was ended, to start again with what is written: short hashes of their UIDs.",
    )
    restarted_at: str | None = Field(
        default=None, description="When the last of them was.", json_schema_extra={"format": "date-time"}
    )
    off_since: str | None = Field(
        default=None,
        description="Since when the plugin is off, for the time that old listeners drain.",
        json_schema_extra={"format": "date-time"},
    )
    was_off: bool | None = Field(default=None, description="Whether it has been off for that.")
    given_up: bool | None = Field(default=None, description="Whether nothing is left that could heal them.")


class GatewayFallback(Model):
    """How far one entry has come on the way back after a failure."""

    name: str = Field(description="Name of the entry.")
    loaded_at: str | None = Field(
        default=None,
        description="When all its gateway pods were first seen running again what was put back.",
        json_schema_extra={"format": "date-time"},
    )
    detour: Detour | None = Field(default=None, description="How gateways are healed that refuse what is put back.")


class RolloutStatus(Model):
    """The rollout under way, or the last one."""

    spec_hash: str = Field(description="Hash of what in the spec makes a revision: another one begins another rollout.")
    started_at: str = Field(description="When it began.", json_schema_extra={"format": "date-time"})
    completed_at: str | None = Field(
        default=None,
        description="When every gateway pod of every placed entry was first seen running it.",
        json_schema_extra={"format": "date-time"},
    )
    rollback_to: str | None = Field(
        default=None, description="The old revision that was asked for, instead of the spec's."
    )
    failure: RolloutFailure | None = Field(
        default=None,
        description="Why it failed. It is not tried again until the wanted revision changes or somebody asks for it.",
    )
    fallbacks: Annotated[list[GatewayFallback], Field(max_length=MAX_GATEWAYS)] = Field(
        default_factory=list,
        description="How far each entry has come on the way back.",
        json_schema_extra=BY_NAME,
    )


class GatewaysSummary(Model):
    """Counts over all entries of spec.gateways, for columns and scripts."""

    gateways: str = Field(description="Entries with every pod loaded / all entries, such as 2/2.")
    pods: str = Field(description="Pods seen running their revision / all selected pods, such as 5/5.")
    desired: int = Field(description="How many gateway pods are selected.")
    loaded: int = Field(description="How many of them were seen running their revision.")
    failed: int = Field(description="How many of them were seen refusing it.")


class Handled(Model):
    """Values of the action annotations that were acted on."""

    retry: str | None = Field(default=None, description="Of pluginrelease.io/retry.")
    rollback_to: str | None = Field(default=None, description="Of pluginrelease.io/rollback-to.")


class HistoryState(StrEnum):
    """What became of a revision."""

    DEPLOYING = "Deploying"
    STABLE = "Stable"
    SUPERSEDED = "Superseded"
    ABORTED = "Aborted"
    FAILED = "Failed"


class HistoryEntry(Model):
    """One revision that was written to the gateways."""

    revision: str = Field(description="Which revision.")
    number: int = Field(description="Counts up with every rollout.", json_schema_extra={"format": "int64"})
    state: HistoryState = Field(
        description=(
            "Deploying: under way; Stable: runs everywhere; Superseded: ran everywhere until another did; Aborted: "
            "another came before it ran everywhere; Failed."
        )
    )
    ref: str = Field(description="The reference as the spec named it.")
    digest: str = Field(description="Digest of the image's manifest.")
    reason: str | None = Field(default=None, description="Why it failed, in one CamelCase word.")
    first_deployed: str = Field(description="When it was first written.", json_schema_extra={"format": "date-time"})
    last_deployed: str = Field(description="When it was last written.", json_schema_extra={"format": "date-time"})


class Checkpoint(Model):
    """The operator's own notes: what it would need to know if it were started again now."""

    gateways: Annotated[list[Observation], Field(max_length=MAX_GATEWAYS)] = Field(
        default_factory=list, description="One for each entry.", json_schema_extra=BY_NAME
    )


class Status(Model):
    """What was seen. Written by the operator alone."""

    observed_generation: int = Field(
        default=-1,
        description="The generation of the spec that the last pass was about; -1 before the first.",
        json_schema_extra={"format": "int64"},
    )
    phase: str | None = Field(
        default=None, description="One word for people; programs read the conditions, never this."
    )
    summary: GatewaysSummary | None = Field(default=None, description="What was seen, counted over all entries.")
    conditions: Annotated[list[Condition], Field(max_length=16)] = Field(
        default_factory=list,
        description="The state of the release, one condition a type; Ready is always there after the first pass.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    target_revision: str | None = Field(
        default=None, description="The revision that is wanted: artifact, plugin and pull secrets in one hash."
    )
    stable_revision: str | None = Field(
        default=None, description="The revision that was last seen running in all pods of all placed entries."
    )
    artifact: ArtifactStatus | None = Field(
        default=None, description="The artifact that was resolved, fetched and checked last."
    )
    gateways: Annotated[list[GatewayStatus], Field(max_length=2 * MAX_GATEWAYS)] = Field(
        default_factory=list,
        description="One row for each entry of spec.gateways, and for each removed one whose object is still there.",
        json_schema_extra=BY_NAME,
    )
    pods: Annotated[list[PodStatus], Field(max_length=MAX_POD_ROWS)] = Field(
        default_factory=list, description="At most 40 gateway pods of all entries, failures first."
    )
    rollout: RolloutStatus | None = Field(default=None, description="The rollout under way, or the last one.")
    history: Annotated[list[HistoryEntry], Field(max_length=102)] = Field(
        default_factory=list, description="The revisions that were written to the gateways, newest first."
    )
    handled: Handled | None = Field(
        default=None, description="The action annotations that were acted on, by their values."
    )
    checkpoint: Checkpoint | None = Field(default=None, description="The operator's own notes.")

    @model_validator(mode="before")
    @classmethod
    def leave_out_unseen(cls, found: Any) -> Any:
        """Leave out what is there for the columns of a new object alone (`UNSEEN`): nobody has seen it."""
        if not isinstance(found, dict):
            return found
        conditions = [one for one in found.get("conditions") or [] if one not in UNSEEN["conditions"]]
        empty = {part for part in ("phase", "summary") if found.get(part) == UNSEEN[part]}
        kept = {key: value for key, value in found.items() if key not in empty}
        return {**kept, "conditions": conditions} if "conditions" in found else kept

    def gateway(self, name: str) -> GatewayStatus | None:
        """Return the row of the entry of this name, or None."""
        return next((row for row in self.gateways if row.name == name), None)

    def observation(self, name: str) -> Observation | None:
        """Return the notes on the entry of this name, or None."""
        noted = self.checkpoint.gateways if self.checkpoint else []
        return next((observation for observation in noted if observation.name == name), None)
