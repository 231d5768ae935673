"""``spec``: what a person wants."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from pluginrelease.api.artifact import ArtifactSource
from pluginrelease.api.checks import Checks
from pluginrelease.api.metadata import Model
from pluginrelease.api.plugin import Plugin
from pluginrelease.api.rules import SHOWN, cel, immutable
from pluginrelease.api.values import Duration, LabelValue, NamespaceName


class Selector(Model):
    """Which gateway pods."""

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=32)] = Field(
        description="Labels that a gateway pod must carry, all of them.",
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "self.size() > 0",
                    "name at least one label of the gateway's pods, for example istio: ingressgateway; "
                    "an empty selector would mean every pod",
                ),
                cel(
                    "self.all(k, k.size() > 0 && !k.contains('*') && !self[k].contains('*'))",
                    "Istio takes neither wildcards nor empty label names in a selector: write the label and its "
                    "value, for example istio: ingressgateway",
                ),
            ]
        },
    )


class Gateway(Model):
    """The gateways that are to run the plugin."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "self.provider != 'Istio' || has(self.selector)",
                    "provider Istio needs selector.matchLabels with a label of the gateway's pods, for example istio: "
                    "ingressgateway",
                ),
                cel(
                    "self.provider != 'Higress' || !has(self.selector)",
                    "leave selector out: Higress gives a plugin to all gateway pods of its installation; which "
                    "requests get it is said by plugin.matchRules",
                ),
            ]
        }
    )

    provider: Literal["Istio", "Higress"] = Field(
        description="The mesh whose gateways these are. It cannot be changed.",
        json_schema_extra=immutable("gateway.provider"),
    )
    namespace: NamespaceName = Field(
        description=(
            "Namespace of the gateway pods, and of the WasmPlugin that is written. In Istio's root namespace "
            "(istio-system by default) a WasmPlugin reaches the selected pods of every namespace. With Higress it is "
            "the namespace of the installation, usually higress-system: Higress reads no other. A namespace other "
            "than the release's own must allow it with the annotation pluginrelease.io/allowed-namespaces. "
            "It cannot be changed."
        ),
        json_schema_extra=immutable("gateway.namespace"),
    )
    selector: Selector | None = Field(
        default=None,
        description=(
            "Selects the gateway pods by their labels. Istio needs it; Higress has one selector for its whole "
            "installation, and it stays out."
        ),
    )


class OnFailure(StrEnum):
    """What happens when a revision does not come to run in every gateway pod."""

    ROLLBACK = "Rollback"
    HOLD = "Hold"


class Rollout(Model):
    """How a new revision comes to the gateways, and what happens when it does not."""

    progress_deadline: Duration = Field(
        default="10m",
        description=(
            "How long a rollout may take, from the change of the spec to Ready. After it the release is Stalled; what "
            "was written and is still awaited counts as failed."
        ),
    )
    on_failure: OnFailure = Field(
        default=OnFailure.ROLLBACK,
        description=(
            "When the gateways refuse a revision, cannot fetch it or fail its probes: Rollback puts back the last "
            "revision that ran everywhere, or takes the plugin off when there is none; Hold leaves it as it is. "
            "Where gateways crash or hang, Hold does the same as Rollback. "
            "After Ready, trouble is told and nothing is put back."
        ),
    )


class DeletionPolicy(StrEnum):
    """What happens to the plugin on the gateways when the PluginRelease is deleted."""

    DELETE = "Delete"
    ORPHAN = "Orphan"


class Spec(Model):
    """What should run, and where."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "self.gateway.provider == 'Higress' || (!has(self.plugin.matchRules) && "
                    "(!has(self.plugin.configDisabled) || !self.plugin.configDisabled))",
                    "only Higress has plugin.matchRules and plugin.configDisabled: leave them out for Istio",
                ),
                cel(
                    "self.gateway.provider != 'Higress' || self.plugin.failStrategy != 'FAIL_RELOAD'",
                    "Higress does not know FAIL_RELOAD: write FAIL_CLOSE or FAIL_OPEN. Its gateways start a plugin "
                    "that crashed again",
                ),
                cel(
                    "self.gateway.provider != 'Higress' || has(self.plugin.priority)",
                    "with Higress give plugin.priority, a number that no other plugin of this phase has: without one "
                    "the order of plugins there changes by itself",
                ),
            ]
        }
    )

    suspend: bool = Field(
        default=False,
        description="Nothing is written while true: what runs goes on running, and is no longer looked at.",
    )
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.DELETE,
        description="On deletion of the PluginRelease: Delete takes the plugin off the gateways, Orphan leaves it.",
    )
    artifact: ArtifactSource = Field(description="Where the plugin comes from.")
    gateway: Gateway = Field(description="The gateways that are to run it.")
    plugin: Plugin = Field(default_factory=Plugin, description="How the gateways run it.", json_schema_extra=SHOWN)
    checks: Checks = Field(
        default_factory=Checks, description="What must be seen before Ready.", json_schema_extra=SHOWN
    )
    rollout: Rollout = Field(
        default_factory=Rollout,
        description="How a new revision comes to the gateways, and what happens when it does not.",
        json_schema_extra=SHOWN,
    )
    revision_history_limit: Annotated[int, Field(ge=0, le=100)] = Field(
        default=10,
        description="How many old revisions are kept to roll back to, beside the stable one and the wanted one.",
    )
