"""``status``: what was seen, and what must be known after a restart of the operator."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from pluginrelease.api.conditions import Condition
from pluginrelease.api.metadata import MAX_OBSERVED_PODS, MAX_POD_ROWS, MESSAGE_MAX, Model


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


class TargetStatus(Model):
    """The object that was written to the gateway's namespace."""

    api_version: str = Field(description="Its API version.")
    kind: str = Field(description="WasmPlugin.")
    namespace: str = Field(description="Its namespace: spec.gateway.namespace.")
    name: str = Field(description="Its name, made from the release's.")
    uid: str | None = Field(default=None, description="Which object of that name.")


class PodStatus(Model):
    """What was seen in one gateway pod."""

    name: str = Field(description="Name of the pod.")
    namespace: str = Field(description="Namespace of the pod.")
    state: Literal["Loaded", "Pending", "Unhealthy", "Unknown"] = Field(description="What the signs in it amount to.")
    revision: str | None = Field(default=None, description="The revision that was seen running in it.")
    reason: str = Field(description="Why, in one CamelCase word.")
    message: Annotated[str, Field(max_length=MESSAGE_MAX)] = Field(
        default="", description="What was seen, where it can in the gateway's own words."
    )


class GatewaysStatus(Model):
    """What was seen in the selected gateway pods: exact counts, and at most 20 rows, failures first."""

    desired: int = Field(description="How many gateway pods the selector finds.")
    loaded: int = Field(description="How many of them were seen running the wanted revision.")
    failed: int = Field(description="How many of them were seen refusing it.")
    summary: str = Field(description="loaded/desired, for the column.")
    pods: Annotated[list[PodStatus], Field(max_length=MAX_POD_ROWS)] = Field(
        default_factory=list, description="At most 20 pods, failures first."
    )


class RaisedLogger(Model):
    """A log level that the operator raised on a pod, to be put back; noted before it is raised."""

    namespace: str = Field(description="Namespace of the pod.")
    pod: str = Field(description="Name of the pod.")
    uid: str = Field(description="Which pod of that name.")
    level: str = Field(description="The level of Envoy's filter logger before.")


class PodBaseline(Model):
    """A gateway's counters before the write, for one run of its Envoy; absent where the gateway hides them."""

    uid: str = Field(description="Which pod.")
    started_at: str = Field(description="When this run of its Envoy began.", json_schema_extra={"format": "date-time"})
    config_reload: int | None = Field(default=None, description="Modules loaded anew by a change of configuration.")
    config_fail: int | None = Field(default=None, description="Configurations that Envoy could not use.")
    update_rejected: int | None = Field(
        default=None, description="Updates of the plugin's configuration that Envoy refused."
    )
    vm_created: int | None = Field(default=None, description="Virtual machines started.")
    vm_reloads: int | None = Field(default=None, description="Virtual machines started anew after a failure.")
    named: bool | None = Field(default=None, description="Whether Envoy had statistics of the plugin's own name.")
    digest_hex: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="The manifest's digest in the name of the file that the gateway had."
    )
    crashes: int | None = Field(
        default=None, description="How often the plugin crashed, where that is counted (Higress)."
    )
    restarts: int | None = Field(
        default=None, description="How often the container that runs Envoy was restarted, of a pod that was well."
    )
    image: Annotated[str, Field(max_length=8)] | None = Field(
        default=None, description="Of that container's image: eight hex digits of its name's SHA-256."
    )
    others_updated: str | None = Field(
        default=None,
        description="When another plugin of this gateway was last updated.",
        json_schema_extra={"format": "date-time"},
    )


class SilentPod(Model):
    """A pod whose admin port takes connections and does not answer."""

    uid: str = Field(description="Which pod.")
    since: str = Field(description="Since when.", json_schema_extra={"format": "date-time"})


class VerifiedPod(Model):
    """One run of one pod's Envoy, seen running the revision."""

    uid: str = Field(description="Which pod.")
    started_at: str = Field(description="When this run of its Envoy began.", json_schema_extra={"format": "date-time"})


class Proof(Model):
    """What was proved before this revision was written; it holds in gateways that never got to see the new one."""

    load: str = Field(description="What the gateways had loaded.")
    verified: Annotated[list[VerifiedPod], Field(max_length=MAX_OBSERVED_PODS)] = Field(
        default_factory=list, description="Pods in which it was seen running."
    )


class Nudge(Model):
    """How often gateways that could not fetch the plugin were made to try again."""

    count: int = Field(description="How often; the WasmPlugin carries the same number.")
    tries: int = Field(description="How often since everything ran.")
    at: str = Field(description="When last.", json_schema_extra={"format": "date-time"})


class Observation(Model):
    """What the look at the gateways started from: kept here so that a restarted operator goes on from it."""

    revision: str = Field(description="The revision this observation is about.")
    load: str = Field(
        default="", description="What a gateway loads of it: artifact, plugin name, configuration and failStrategy."
    )
    since: str = Field(
        description="Taken before the write: log lines and Envoys older than it say nothing about this revision.",
        json_schema_extra={"format": "date-time"},
    )
    baselines: Annotated[list[PodBaseline], Field(max_length=MAX_OBSERVED_PODS)] = Field(
        default_factory=list, description="The gateways' counters before the write."
    )
    raised_loggers: Annotated[list[RaisedLogger], Field(max_length=MAX_OBSERVED_PODS)] = Field(
        default_factory=list, description="Log levels to be put back."
    )
    verified: Annotated[list[VerifiedPod], Field(max_length=MAX_OBSERVED_PODS)] = Field(
        default_factory=list, description="Pods in which the revision was seen running."
    )
    silent: Annotated[list[SilentPod], Field(max_length=MAX_OBSERVED_PODS)] = Field(
        default_factory=list, description="Pods whose admin port does not answer any more."
    )
    before: Proof | None = Field(default=None, description="What ran before, and in which pods it was seen running.")
    failed_before: Annotated[list[str], Field(max_length=16)] = Field(
        default_factory=list,
        description="Probes that failed in every pod before the write: now they tell new from old.",
    )
    probes_failing_since: str | None = Field(
        default=None,
        description="Since when probes fail without a break.",
        json_schema_extra={"format": "date-time"},
    )
    nudge: Nudge | None = Field(default=None, description="How often gateways were made to fetch anew.")


class RolloutFailure(Model):
    """Why a revision did not come to run everywhere."""

    revision: str = Field(description="Which revision failed.")
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
        default_factory=list, description="Pods whose Envoy was ended, so that it starts again with what is written."
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


class RolloutStatus(Model):
    """The rollout under way, or the last one."""

    generation: int = Field(
        description="The generation of the spec that it is about.", json_schema_extra={"format": "int64"}
    )
    started_at: str = Field(description="When it began.", json_schema_extra={"format": "date-time"})
    completed_at: str | None = Field(
        default=None,
        description="When every gateway pod was first seen running it.",
        json_schema_extra={"format": "date-time"},
    )
    rollback_to: str | None = Field(
        default=None, description="The old revision that was asked for, instead of the spec's."
    )
    failure: RolloutFailure | None = Field(
        default=None, description="Why it failed; it is not tried again until the spec changes or somebody asks for it."
    )
    puts_back: str | None = Field(
        default=None, description="The revision that is put back after the failure; empty: the plugin is taken off."
    )
    put_back_at: str | None = Field(
        default=None,
        description="When every gateway pod was first seen running that again.",
        json_schema_extra={"format": "date-time"},
    )
    detour: Detour | None = Field(default=None, description="How gateways are healed that refuse what is put back.")
    adopted: bool | None = Field(
        default=None, description="Whether the object was somebody else's before; then it is never taken off."
    )


class Handled(Model):
    """Values of the action annotations that were acted on."""

    retry: str | None = Field(default=None, description="Of pluginrelease.io/retry.")
    rollback_to: str | None = Field(default=None, description="Of pluginrelease.io/rollback-to.")


class HistoryState(StrEnum):
    """What became of a revision."""

    DEPLOYING = "Deploying"
    STABLE = "Stable"
    SUPERSEDED = "Superseded"
    OVERTAKEN = "Overtaken"
    FAILED = "Failed"


class HistoryEntry(Model):
    """One revision that was written to the gateways."""

    revision: str = Field(description="Which revision.")
    number: int = Field(description="Counts up with every rollout.", json_schema_extra={"format": "int64"})
    state: HistoryState = Field(
        description=(
            "Deploying: under way; Stable: runs everywhere; Superseded: ran everywhere until another did; Overtaken: "
            "another came before it ran everywhere; Failed."
        )
    )
    ref: str = Field(description="The reference as the spec named it.")
    digest: str = Field(description="Digest of the image's manifest.")
    reason: str | None = Field(default=None, description="Why it failed, in one CamelCase word.")
    first_deployed: str = Field(description="When it was first written.", json_schema_extra={"format": "date-time"})
    last_deployed: str = Field(description="When it was last written.", json_schema_extra={"format": "date-time"})


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
    conditions: Annotated[list[Condition], Field(max_length=16)] = Field(
        default_factory=list,
        description="The state of the release, one condition a type; Ready is always there after the first pass.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    target_revision: str | None = Field(
        default=None, description="The revision that is wanted: artifact, plugin and gateway in one hash."
    )
    stable_revision: str | None = Field(
        default=None, description="The revision that was last seen running in every selected gateway pod."
    )
    artifact: ArtifactStatus | None = Field(
        default=None, description="The artifact that was resolved, fetched and checked last."
    )
    target: TargetStatus | None = Field(
        default=None, description="The object that was written to the gateway's namespace."
    )
    gateways: GatewaysStatus | None = Field(default=None, description="What was seen in the selected gateway pods.")
    rollout: RolloutStatus | None = Field(default=None, description="The rollout under way, or the last one.")
    history: Annotated[list[HistoryEntry], Field(max_length=102)] = Field(
        default_factory=list, description="The revisions that were written to the gateways, newest first."
    )
    handled: Handled | None = Field(
        default=None, description="The action annotations that were acted on, by their values."
    )
    observation: Observation | None = Field(
        default=None, description="What the look at the gateways started from; the operator's own notes."
    )
