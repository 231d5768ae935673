"""``spec``: what a person wants."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from pluginrelease.api.artifact import ArtifactSource
from pluginrelease.api.checks import Checks
from pluginrelease.api.metadata import MAX_GATEWAYS, Model
from pluginrelease.api.plugin import Plugin
from pluginrelease.api.rules import SHOWN, cel, immutable
from pluginrelease.api.values import Duration, EntryName, LabelValue, Name, NamespaceName


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
    """One set of gateway pods that is to run the plugin, by one object of its own.

    No field has a default in the schema: a GitOps tool would see it as a difference in every item for ever.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "has(self.objectName) == has(oldSelf.objectName)",
                    "objectName cannot be set or removed later: the object would be left behind under its old name. "
                    "Give the entry another name",
                ),
            ]
        }
    )

    name: EntryName = Field(
        description=(
            "Name of this entry, unique in the release. Status, messages and the written object are named after it. "
            "An entry that is removed takes its plugin along; one that is renamed and keeps its objectName keeps its "
            "object."
        )
    )
    namespace: NamespaceName = Field(
        description=(
            "Namespace of the gateway pods, and of the WasmPlugin that is written. In Istio's root namespace "
            "(istio-system by default) a WasmPlugin reaches the selected pods of every namespace. With Higress it is "
            "the namespace of the installation, usually higress-system: Higress reads no other. A namespace other "
            "than the release's own must allow it with the annotation pluginrelease.io/allowed-namespaces. "
            "It cannot be changed: give the entry another name."
        ),
        json_schema_extra=immutable("namespace", "give the entry another name, or make another entry"),
    )
    selector: Selector | None = Field(
        default=None,
        description=(
            "Selects the gateway pods by their labels. Istio needs it. Leave it out for Higress, which has one "
            "selector for its whole installation. A changed selector is a rollout of this entry alone."
        ),
    )
    object_name: Name | None = Field(
        default=None,
        description=(
            "Name of the WasmPlugin. Unset: <release>-<entry>; from another namespace "
            "<release's namespace>-<release>-<entry>-<hash>. It cannot be changed."
        ),
        json_schema_extra=immutable("objectName", "give the entry another name, or make another entry"),
    )
    adopt: bool | None = Field(
        default=None,
        description=(
            "true: take over an object of that name which no PluginRelease owns. It is kept as it was, put back when "
            "the first revision fails, and left there when the release is deleted (deletionPolicy unset)."
        ),
    )


GATEWAYS_SCHEMA: JsonDict = {
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "x-kubernetes-validations": [
        cel(
            "self.all(entry, self.exists_one(other, other.__namespace__ == entry.__namespace__ "
            "&& has(other.selector) == has(entry.selector) "
            "&& (!has(entry.selector) || other.selector == entry.selector)))",
            "two entries of gateways have the same namespace and selector: every request would run the plugin twice. "
            "Remove one of them",
        ),
        cel(
            "self.all(entry, !has(entry.objectName) || self.exists_one(other, "
            "other.__namespace__ == entry.__namespace__ && has(other.objectName) "
            "&& other.objectName == entry.objectName))",
            "two entries of gateways have the same namespace and objectName: give each object a name of its own",
        ),
    ],
}


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
                    "self.provider == 'Higress' || (!has(self.plugin.matchRules) && "
                    "(!has(self.plugin.configDisabled) || !self.plugin.configDisabled))",
                    "only Higress has plugin.matchRules and plugin.configDisabled: leave them out for Istio",
                ),
                cel(
                    "self.provider != 'Higress' || self.plugin.failStrategy != 'FAIL_RELOAD'",
                    "Higress does not know FAIL_RELOAD: write FAIL_CLOSE or FAIL_OPEN. Its gateways start a plugin "
                    "that crashed again",
                ),
                cel(
                    "self.provider != 'Higress' || has(self.plugin.priority)",
                    "with Higress give plugin.priority, a number that no other plugin of this phase has: without one "
                    "the order of plugins there changes by itself",
                ),
                cel(
                    "self.provider != 'Istio' || self.gateways.all(gateway, has(gateway.selector))",
                    "provider Istio needs selector.matchLabels in each entry of gateways, with a label of the "
                    "gateway's pods, for example istio: ingressgateway",
                ),
                cel(
                    "self.provider != 'Higress' || self.gateways.all(gateway, !has(gateway.selector))",
                    "leave selector out of every entry of gateways: Higress gives a plugin to all gateway pods of its "
                    "installation. Which requests get it is said by plugin.matchRules",
                ),
            ]
        }
    )

    suspend: bool = Field(
        default=False,
        description="Nothing is written while true: what runs goes on running, and is no longer looked at.",
    )
    deletion_policy: DeletionPolicy | None = Field(
        default=None,
        description=(
            "On deletion of the PluginRelease, and for an entry of gateways that is removed: Delete takes the plugin "
            "off the gateways, Orphan leaves it. Unset: Delete for objects that the release made, Orphan for objects "
            "that it adopted, entry by entry."
        ),
    )
    provider: Literal["Istio", "Higress"] = Field(
        description="The mesh whose gateways these are. It cannot be changed.",
        json_schema_extra=immutable("provider"),
    )
    artifact: ArtifactSource = Field(description="Where the plugin comes from.")
    gateways: Annotated[list[Gateway], Field(min_length=1, max_length=MAX_GATEWAYS)] = Field(
        description="The gateways that are to run the plugin, 1 to 64 entries; each gets one object.",
        json_schema_extra=GATEWAYS_SCHEMA,
    )
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
