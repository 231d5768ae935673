"""``spec``: what a user asks for."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from pluginrelease.api.artifact import ArtifactSource
from pluginrelease.api.checks import Checks
from pluginrelease.api.durations import Duration
from pluginrelease.api.metadata import MAX_GATEWAYS, Model
from pluginrelease.api.plugin import Plugin
from pluginrelease.api.rules import SHOWN, cel, immutable
from pluginrelease.api.values import EntryName, GatewayName, LabelValue, Name, NamespaceName


class Selector(Model):
    """Selects gateway pods by their labels."""

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=32)] = Field(
        examples=[{"istio": "ingressgateway"}],
        description="Labels of the gateway pods. A pod must have all of them.",
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "self.size() > 0",
                    "name at least one label of the gateway's pods, for example istio: ingressgateway; an empty "
                    "selector would select every pod",
                ),
                cel(
                    "self.all(k, k.size() > 0 && !k.contains('*') && !self[k].contains('*'))",
                    "write each label with its full value, for example istio: ingressgateway; Istio accepts no "
                    "wildcards and no empty label names",
                ),
            ]
        },
    )


class TargetReference(Model):
    """Names the Gateway whose pods should run the plugin. It is in the namespace of the entry."""

    group: Literal["gateway.networking.k8s.io"] = Field(description="API group of the target.")
    kind: Literal["Gateway"] = Field(description="Kind of the target.")
    name: GatewayName = Field(
        examples=["public"],
        description=(
            "Name of the Gateway. Istio gives its pods the label gateway.networking.k8s.io/gateway-name with this name."
        ),
    )


class Attachment(NamedTuple):
    """How an entry names its gateway pods: by their labels, or by their Gateway; neither for Higress."""

    selector: Selector | None = None
    target_refs: list[TargetReference] | None = None


class Proxies(StrEnum):
    """What the Envoy of the selected pods is to Istio."""

    GATEWAYS = "Gateways"
    SIDECARS = "Sidecars"


class Gateway(Model):
    """One set of gateway pods that should run the plugin. The operator writes one object for it."""

    # no field has a default in the schema: a GitOps tool would report it as a difference in each item

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "has(self.objectName) == has(oldSelf.objectName)",
                    "restore objectName as it was, or give the entry another name: a change would leave the old "
                    "object behind",
                ),
                cel(
                    "!has(self.proxies) || self.proxies != 'Sidecars' || has(self.selector)",
                    "remove proxies, or select the sidecars' pods by selector: pods of a Gateway are no sidecars",
                ),
            ]
        }
    )

    name: EntryName = Field(
        examples=["public"],
        description=(
            "Name of this entry. Unique in the release. The status, messages and the written object use it. "
            "If you remove an entry, its plugin is removed. If you rename an entry and keep its objectName, "
            "it keeps its object."
        ),
    )
    namespace: NamespaceName = Field(
        examples=["istio-ingress"],
        description=(
            "Namespace of the gateway pods and of the WasmPlugin. In Istio's root namespace (istio-system by "
            "default), a WasmPlugin applies to the selected pods of every namespace. With Higress, use the "
            "namespace of the installation, usually higress-system. If it is not the namespace of the "
            "release, it must allow the release with the annotation pluginrelease.io/allowed-namespaces. "
            "Immutable: to change it, give the entry another name."
        ),
        json_schema_extra=immutable("namespace", "give the entry another name, or make another entry"),
    )
    selector: Selector | None = Field(
        default=None,
        description=(
            "Selects the gateway pods by their labels. For Istio, set either selector or targetRefs. Not allowed "
            "for Higress, which has one selector for its whole installation. A change rolls out to this entry only."
        ),
    )
    target_refs: Annotated[list[TargetReference], Field(min_length=1, max_length=1)] | None = Field(
        default=None,
        examples=[[{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public"}]],
        description=(
            "Names the Gateway of the Gateway API whose pods should run the plugin, in the namespace of the entry. "
            "Use it for gateways that Istio deploys for a Gateway. One target: write an entry for each Gateway. "
            "Not allowed for Higress. A change rolls out to this entry only."
        ),
    )
    proxies: Proxies | None = Field(
        default=None,
        description=(
            "Kind of the selected pods: Gateways, or Sidecars for pods of applications that have an Envoy beside them. "
            "Unset: Gateways. If the selector matches pods of the other kind, the operator refuses the entry. Sidecars "
            "is for Istio only."
        ),
    )
    object_name: Name | None = Field(
        default=None,
        examples=["auth"],
        description=(
            "Name of the WasmPlugin. Unset: <release>-<entry>, or <release "
            "namespace>-<release>-<entry>-<hash> in another namespace. Immutable."
        ),
        json_schema_extra=immutable("objectName", "give the entry another name, or make another entry"),
    )
    adopt: bool | None = Field(
        default=None,
        description=(
            "If true, the operator takes over an existing object of that name that no PluginRelease owns. It "
            "keeps a copy, and restores it if the first revision fails. If deletionPolicy is unset, the "
            "object remains when the release is deleted."
        ),
    )

    @property
    def attachment(self) -> Attachment:
        """Return how the entry names its gateway pods."""
        return Attachment(self.selector, self.target_refs)


GATEWAYS_SCHEMA: JsonDict = {
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "x-kubernetes-validations": [
        cel(
            "self.all(entry, self.exists_one(other, other.__namespace__ == entry.__namespace__ "
            "&& has(other.selector) == has(entry.selector) "
            "&& (!has(entry.selector) || other.selector == entry.selector) "
            "&& has(other.targetRefs) == has(entry.targetRefs) "
            "&& (!has(entry.targetRefs) || other.targetRefs == entry.targetRefs)))",
            "remove one of these two entries of gateways: they have the same namespace and selector, or targetRefs, so "
            "every request would run the plugin twice",
        ),
        cel(
            "self.all(entry, !has(entry.objectName) || self.exists_one(other, "
            "other.__namespace__ == entry.__namespace__ && has(other.objectName) "
            "&& other.objectName == entry.objectName))",
            "give each object its own name: two entries of gateways have the same namespace and objectName",
        ),
    ],
}


class OnFailure(StrEnum):
    """What the operator does when a revision fails."""

    ROLLBACK = "Rollback"
    HOLD = "Hold"


class Rollout(Model):
    """How the operator rolls out a new revision, and what it does when the revision fails."""

    progress_deadline: Duration = Field(
        default=Duration("10m"),
        examples=["15m"],
        description=(
            "Maximum time of a rollout, from the change of the spec to Ready. When it is over, the release is "
            "Stalled, and a revision that gateways have not loaded yet counts as failed."
        ),
    )
    on_failure: OnFailure = Field(
        default=OnFailure.ROLLBACK,
        description=(
            "What the operator does when gateways reject a revision, cannot fetch it or fail its probes. "
            "Rollback restores the last revision that ran on every gateway pod, or removes the plugin if "
            "there is none. Hold leaves the failed revision in place. If gateways crash or hang, Hold acts "
            "like Rollback. After Ready, the same holds for watchFor. After that, the operator only reports failures."
        ),
    )
    watch_for: Duration = Field(
        default=Duration("15m"),
        description=(
            "Time after Ready in which a revision can still fail. If gateways crash or hang, the plugin crashes, or "
            "probes fail in this time, the operator restores what each entry ran before. 0s: it restores nothing "
            "after Ready."
        ),
    )


class DeletionPolicy(StrEnum):
    """What happens to the plugin when the PluginRelease is deleted."""

    DELETE = "Delete"
    ORPHAN = "Orphan"


# What an older CRD accepted may lack what every release has today. A rule that fails because of this would block the
# removal of the finalizer, and so the deletion of the release.
_OLDER = "!has(self.provider) || !has(self.gateways)"


class Spec(Model):
    """Which plugin should run, and on which gateways."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    f"{_OLDER} || self.provider == 'Higress' || (!has(self.plugin.matchRules) && "
                    "(!has(self.plugin.configDisabled) || !self.plugin.configDisabled))",
                    "remove plugin.matchRules and plugin.configDisabled: Istio does not have them, only Higress does",
                ),
                cel(
                    f"{_OLDER} || self.provider != 'Higress' || self.plugin.failStrategy != 'FAIL_RELOAD'",
                    "set failStrategy to FAIL_CLOSE or FAIL_OPEN: Higress does not support FAIL_RELOAD. Its gateways "
                    "restart a plugin that crashed",
                ),
                cel(
                    f"{_OLDER} || self.provider != 'Higress' || has(self.plugin.priority)",
                    "set plugin.priority to a number that no other plugin of this phase has: without it, the order of "
                    "plugins in Higress can change",
                ),
                cel(
                    f"{_OLDER} || self.provider != 'Istio' || "
                    "self.gateways.all(gateway, has(gateway.selector) != has(gateway.targetRefs))",
                    "set either selector.matchLabels or targetRefs in each entry of gateways: a label of the gateway's "
                    "pods, for example istio: ingressgateway, or their Gateway",
                ),
                cel(
                    f"{_OLDER} || self.provider != 'Higress' || "
                    "self.gateways.all(gateway, !has(gateway.selector) && !has(gateway.targetRefs) && "
                    "!has(gateway.proxies))",
                    "remove selector, targetRefs and proxies from every entry of gateways: Higress sends a plugin to "
                    "all gateway pods of its installation. Use plugin.matchRules to limit it to some requests",
                ),
                cel(
                    f"{_OLDER} || self.provider != 'Higress' || !has(self.plugin.match)",
                    "remove plugin.match: Higress does not have it. Use plugin.matchRules to limit the plugin to some "
                    "requests",
                ),
                cel(
                    f"{_OLDER} || !has(self.plugin.match) || !self.gateways.exists(gateway, has(gateway.selector) && "
                    "(!has(gateway.proxies) || gateway.proxies != 'Sidecars')) || "
                    "self.plugin.match.all(item, !has(item.mode) || item.mode != 'SERVER')",
                    "set mode to CLIENT in each item of plugin.match, or remove it: for Istio the listeners of "
                    "gateways are CLIENT, so the plugin would never run",
                ),
                cel(
                    f"{_OLDER} || !has(self.checks) || !has(self.checks.probes) || self.checks.probes.size() == 0 || "
                    "!self.gateways.exists(gateway, has(gateway.proxies) && gateway.proxies == 'Sidecars')",
                    "remove checks.probes, or make another PluginRelease for the sidecars: a sidecar takes requests "
                    "only from the network of its pod",
                ),
                cel(
                    f"{_OLDER} || self.provider == 'Istio' || !has(self.artifact.http)",
                    "use artifact.image: with Higress, a plugin comes from an image",
                ),
            ]
        }
    )

    suspend: bool = Field(
        default=False,
        description="If true, the operator writes nothing and checks nothing. Plugins that run keep running.",
    )
    deletion_policy: DeletionPolicy | None = Field(
        default=None,
        description=(
            "What happens to the plugin when the PluginRelease is deleted or an entry of gateways is removed. "
            "Delete removes it from the gateways; Orphan leaves it. Unset: the operator deletes objects that "
            "it created and leaves objects that it adopted."
        ),
    )
    provider: Literal["Istio", "Higress"] = Field(
        description="The mesh of the gateways. Immutable.",
        json_schema_extra=immutable("provider"),
    )
    artifact: ArtifactSource = Field(
        description="The plugin: its image and its signatures, or its URL.",
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "has(self.image) != has(self.http)",
                    "set either artifact.image or artifact.http, and remove the other",
                ),
                cel(
                    "!has(self.http) || !has(self.verify)",
                    "remove verify, or push the plugin as an image: a file on an HTTP server has no signature",
                ),
                cel(
                    "!has(self.http) || !has(self.wasmSha256)",
                    "remove wasmSha256: http.sha256 is the SHA-256 of the .wasm file already",
                ),
            ]
        },
    )
    gateways: Annotated[list[Gateway], Field(min_length=1, max_length=MAX_GATEWAYS)] = Field(
        description=(
            "The gateways that should run the plugin: 1 to 64 entries. The operator writes one object for each entry."
        ),
        json_schema_extra=GATEWAYS_SCHEMA,
    )
    plugin: Plugin = Field(default_factory=Plugin, description="How gateways run the plugin.", json_schema_extra=SHOWN)
    checks: Checks = Field(
        default_factory=Checks,
        description="Checks that must succeed before the release is Ready.",
        json_schema_extra=SHOWN,
    )
    rollout: Rollout = Field(
        default_factory=Rollout,
        description="How the operator rolls out a new revision, and what it does when the revision fails.",
        json_schema_extra=SHOWN,
    )
    revision_history_limit: Annotated[int, Field(ge=0, le=100)] = Field(
        default=10,
        description="Number of old revisions to keep for rollbacks, in addition to the stable one and the target.",
    )
