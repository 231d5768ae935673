"""``spec.plugin``: how the gateways run it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from pluginrelease.api.metadata import Model
from pluginrelease.api.rules import cel
from pluginrelease.api.values import Name


class Phase(StrEnum):
    """Positions in the filter chain."""

    AUTHN = "AUTHN"
    AUTHZ = "AUTHZ"
    STATS = "STATS"


class FailStrategy(StrEnum):
    """What a gateway does with requests when the plugin fails or cannot be fetched."""

    FAIL_CLOSE = "FAIL_CLOSE"
    FAIL_OPEN = "FAIL_OPEN"
    FAIL_RELOAD = "FAIL_RELOAD"


class EnvironmentVariable(Model):
    """One environment variable of the module."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "has(self.value) != has(self.valueFrom)",
                    "set either value, or valueFrom: HOST to copy the variable of the same name from the gateway's "
                    "container",
                ),
                cel(
                    "!self.name.startsWith('ISTIO_META_')",
                    "choose another name: Istio's agent removes variables that begin with ISTIO_META_",
                ),
            ]
        }
    )

    name: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[!-<>-~]+$")] = Field(
        examples=["LOG_LEVEL"], description="Name of the variable. Unique in the list."
    )
    value: Annotated[str, Field(max_length=2048)] | None = Field(
        default=None,
        examples=["info"],
        description=(
            "Value of the variable. Do not put passwords here: everyone who may read the release or the "
            "gateway's configuration dump can read it."
        ),
    )
    value_from: Literal["HOST"] | None = Field(
        default=None,
        description=(
            "HOST copies the variable of the same name from the gateway's container. If the container does "
            "not have it, the module does not get it."
        ),
    )


class TrafficMode(StrEnum):
    """Which listeners Istio gives the plugin to, by the side of the connection that Envoy is on."""

    CLIENT = "CLIENT"
    SERVER = "SERVER"
    CLIENT_AND_SERVER = "CLIENT_AND_SERVER"


class PortSelector(Model):
    """A port of a listener."""

    number: Annotated[int, Field(ge=1, le=65535)] = Field(
        examples=[8443], description="Port of the listener in the gateway pod."
    )


class TrafficSelector(Model):
    """Selects listeners of the gateway pods."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel("has(self.mode) || has(self.ports)", "set mode or ports: an empty item matches every listener")
            ]
        }
    )

    mode: TrafficMode | None = Field(
        default=None,
        description=(
            "Class of the listeners. For Istio, listeners of gateways are CLIENT and those of waypoints are SERVER. "
            "Unset: both."
        ),
    )
    ports: Annotated[list[PortSelector], Field(min_length=1, max_length=16)] | None = Field(
        default=None,
        examples=[[{"number": 8443}]],
        description="Ports of the listeners in the gateway pods. Unset: all ports. Not for waypoints.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["number"]},
    )


class ConfigFormat(StrEnum):
    """How the value of a key is read."""

    TEXT = "Text"
    YAML = "YAML"


class ConfigSource(Model):
    """One value of a Secret or ConfigMap that becomes part of the configuration."""

    # no field has a default in the schema: a GitOps tool would report it as a difference in each item

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "has(self.path) || !has(self.format) || self.format == 'YAML'",
                    "set path, or remove format: a Text is one value, which needs a place in the configuration",
                ),
            ]
        }
    )

    kind: Literal["Secret", "ConfigMap"] = Field(description="Kind of the object that has the value.")
    name: Name = Field(
        examples=["upstream-token"], description="Name of the object, in the namespace of the PluginRelease."
    )
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = Field(
        examples=["token"], description="Key of the value in the object."
    )
    path: Annotated[str, Field(min_length=2, max_length=256, pattern=r"^(/([^/~]|~[01])+)+$")] | None = Field(
        default=None,
        examples=["/upstream/token"],
        description=(
            "Place in the configuration, as a JSON Pointer (RFC 6901) to a key of an object. Objects on the way are "
            "created. An object is merged with an object that is there; everything else is replaced. Unset: the "
            "value is an object, which is merged over the whole configuration."
        ),
    )
    format: ConfigFormat | None = Field(
        default=None,
        description=(
            "Text makes the whole value one string. YAML reads it as YAML or JSON, for a number, a list or an object. "
            "Unset: Text with path, YAML without."
        ),
    )
    optional: bool | None = Field(
        default=None,
        description="If true, a missing object or key adds nothing. Unset: the release waits for it.",
    )


def config_from(places: str) -> Any:
    """Return the field ``configFrom`` of a configuration. ``places``: what its values are merged over."""
    return Field(
        default=None,
        examples=[[{"kind": "Secret", "name": "upstream-token", "key": "token", "path": "/upstream/token"}]],
        description=(
            f"Values of Secrets and ConfigMaps in the namespace of the PluginRelease, merged over {places} in this "
            "order. A changed value is a new revision. The operator does not watch these objects; it reads them at "
            "least once in each resync. Users who may read the WasmPlugin, or the gateway's configuration dump, "
            "can read the values there."
        ),
    )


RouteName = Annotated[str, Field(min_length=1, max_length=317)]
Domain = Annotated[str, Field(min_length=1, max_length=253)]
ServiceName = Annotated[str, Field(min_length=1, max_length=317)]


class MatchRule(Model):
    """A configuration for some requests. The first rule that matches a request applies."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "has(self.ingress) || has(self.domain) || has(self.service)",
                    "name the requests of this rule in ingress, domain or service: Higress ignores a WasmPlugin that "
                    "has a rule without any, and keeps the previous one. Put the configuration for all other requests "
                    "in plugin.config",
                ),
                cel(
                    "!has(self.domain) || (!has(self.ingress) && !has(self.service))",
                    "split this into two rules: a rule has either domain, or ingress and service, because plugins "
                    "read only one of them",
                ),
                cel(
                    "!has(self.configDisabled) || !self.configDisabled",
                    "remove this rule: configDisabled: true in a rule does not stop the plugin for these requests, "
                    "because Higress then uses another rule or plugin.config. To limit the plugin to some requests, "
                    "set plugin.configDisabled and write rules for those requests",
                ),
            ]
        }
    )

    ingress: Annotated[list[RouteName], Field(min_length=1, max_length=32)] | None = Field(
        default=None,
        examples=[["shop/storefront", "console-route"]],
        description=(
            "Routes, by the name of their Ingress: namespace/name, or the name alone for an Ingress in "
            "Higress's own namespace. Routes of Higress's console are in that namespace. If service is set "
            "too, both must match."
        ),
    )
    domain: Annotated[list[Domain], Field(min_length=1, max_length=32)] | None = Field(
        default=None,
        examples=[["api.example.com", "*.example.com", "api.*"]],
        description="Hosts of requests, without a port. One * is allowed, as first or last character.",
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "self.all(domain, domain.matches('^([*]?[^*:/ ]+|[^*:/ ]+[*]|[*])$'))",
                    "write a host without scheme, port and path, with at most one *, as its first or last character: "
                    "api.example.com, *.example.com or api.*",
                )
            ]
        },
    )
    service: Annotated[list[ServiceName], Field(min_length=1, max_length=32)] | None = Field(
        default=None,
        examples=[["echo.demo.svc.cluster.local:80"]],
        description=("Services that receive the requests, with or without a port."),
    )
    config: dict[str, JsonValue] | None = Field(
        default=None,
        examples=[{"mockEnable": True}],
        description="Configuration of the plugin for these requests. Used instead of plugin.config.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    config_from: Annotated[list[ConfigSource], Field(min_length=1, max_length=8)] | None = config_from("config")
    config_disabled: bool | None = Field(
        default=None,
        description=(
            "Must be false. Higress's configDisable removes the rule; it does not stop the plugin for these requests."
        ),
    )


class Plugin(Model):
    """How gateways run the plugin: the fields of Istio's WasmPlugin, and fields that only Higress has."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(self.configDisabled) || !self.configDisabled || "
                    "(has(self.matchRules) && self.matchRules.size() > 0)",
                    "name the requests for the plugin in matchRules, or delete the PluginRelease: with configDisabled "
                    "and without matchRules, Higress removes the plugin from all gateways",
                )
            ]
        }
    )

    name: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None,
        examples=["auth_root"],
        description=(
            "Name of the plugin inside its module (Envoy's root_id). Needed only for a module that contains "
            "several plugins."
        ),
    )
    phase: Phase | None = Field(
        default=None,
        description=(
            "Position in the filter chain: before authentication (AUTHN), authorization (AUTHZ) or statistics "
            "(STATS). Unset: after all three."
        ),
    )
    priority: Annotated[int, Field(ge=-(2**31), le=2**31 - 1)] | None = Field(
        default=None,
        examples=[100],
        description=(
            "Order within the phase; a higher number runs first. Unset: after every number, also after "
            "negative ones. Required for Higress, where the order of plugins with the same priority, or with "
            "none, can change."
        ),
        json_schema_extra={"format": "int32"},
    )
    fail_strategy: FailStrategy = Field(
        default=FailStrategy.FAIL_CLOSE,
        description=(
            "What happens to requests when the plugin fails. FAIL_CLOSE rejects them. FAIL_OPEN lets them "
            "pass without the plugin. FAIL_RELOAD rejects them while Envoy restarts the plugin; it needs "
            "Istio 1.27 or newer, and Higress does not support it."
        ),
    )
    match: Annotated[list[TrafficSelector], Field(min_length=1, max_length=16)] | None = Field(
        default=None,
        examples=[[{"ports": [{"number": 8443}]}]],
        description=(
            "Istio only. Listeners of the gateway pods that use the plugin. One match is enough. Requests to other "
            "listeners pass without the plugin. Unset: all listeners."
        ),
    )
    config: dict[str, JsonValue] | None = Field(
        default=None,
        examples=[{"header": "allow"}],
        description=(
            "Configuration of the plugin. The plugin receives it as JSON. With Higress it applies to requests "
            "that match no rule."
        ),
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    config_from: Annotated[list[ConfigSource], Field(min_length=1, max_length=32)] | None = config_from("config")
    config_disabled: bool | None = Field(
        default=None,
        description=(
            "Higress only. If true, the plugin acts only on requests that match a rule in matchRules, and "
            "config is not used."
        ),
    )
    match_rules: Annotated[list[MatchRule], Field(max_length=64)] | None = Field(
        default=None, description="Higress only. Configurations for some requests. The first rule that matches applies."
    )
    env: Annotated[list[EnvironmentVariable], Field(max_length=256)] | None = Field(
        default=None,
        description="Environment variables of the module.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
