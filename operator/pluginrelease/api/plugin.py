"""``spec.plugin``: how the gateways run it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue

from pluginrelease.api.metadata import Model
from pluginrelease.api.rules import cel


class Phase(StrEnum):
    """Where in the filter chain Istio puts the plugin."""

    AUTHN = "AUTHN"
    AUTHZ = "AUTHZ"
    STATS = "STATS"


class FailStrategy(StrEnum):
    """What a gateway does with requests when the plugin fails at run time or cannot be fetched."""

    FAIL_CLOSE = "FAIL_CLOSE"
    FAIL_OPEN = "FAIL_OPEN"
    FAIL_RELOAD = "FAIL_RELOAD"


class EnvironmentVariable(Model):
    """A variable in the environment that the module sees."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "has(self.value) != has(self.valueFrom)",
                    "give value, or valueFrom: HOST for the variable of that name in the gateway's own container",
                ),
                cel(
                    "!self.name.startsWith('ISTIO_META_')",
                    "names that begin with ISTIO_META_ are Istio's own, and its agent takes them away: choose another",
                ),
            ]
        }
    )

    name: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[!-<>-~]+$")] = Field(
        description="Its name; unique in the list."
    )
    value: Annotated[str, Field(max_length=2048)] | None = Field(
        default=None,
        description="Its value. Anybody who may read the release or the gateway's dump reads it: no passwords here.",
    )
    value_from: Literal["HOST"] | None = Field(
        default=None,
        description="HOST: what the variable of this name is in the gateway's container; absent there, absent here.",
    )


RouteName = Annotated[str, Field(min_length=1, max_length=317)]
Domain = Annotated[str, Field(min_length=1, max_length=253)]
ServiceName = Annotated[str, Field(min_length=1, max_length=317)]


class MatchRule(Model):
    """Which requests get a configuration of their own. The first rule of the list that matches a request counts."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "has(self.ingress) || has(self.domain) || has(self.service)",
                    "say which requests the rule is for, by ingress, domain or service: Higress ignores a WasmPlugin "
                    "with a rule for none, and goes on with the one before. What is for all requests is plugin.config",
                ),
                cel(
                    "!has(self.domain) || (!has(self.ingress) && !has(self.service))",
                    "domain cannot stand beside ingress or service: plugins look at only one of them. Make two rules",
                ),
                cel(
                    "!has(self.configDisabled) || !self.configDisabled",
                    "leave the rule out: Higress does not switch the plugin off for these requests, but gives them "
                    "another rule or plugin.config. To keep the plugin off requests, set plugin.configDisabled and "
                    "write rules for those that are to have it",
                ),
            ]
        }
    )

    ingress: Annotated[list[RouteName], Field(min_length=1, max_length=32)] | None = Field(
        default=None,
        description=(
            "Names of routes: namespace/name of an Ingress; of one in Higress's own namespace, as are those of its "
            "console, the name alone. Beside service, both must match."
        ),
    )
    domain: Annotated[list[Domain], Field(min_length=1, max_length=32)] | None = Field(
        default=None,
        description="Hosts that are asked for: api.example.com, *.example.com or api.*, without a port.",
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "self.all(domain, domain.matches('^([*]?[^*:/ ]+|[^*:/ ]+[*]|[*])$'))",
                    "a domain is a host without scheme, port and path, with at most one * that is its first or its "
                    "last character: api.example.com, *.example.com or api.*",
                )
            ]
        },
    )
    service: Annotated[list[ServiceName], Field(min_length=1, max_length=32)] | None = Field(
        default=None,
        description=(
            "Services that requests go to: echo.demo.svc.cluster.local, or with a port echo.demo.svc.cluster.local:80."
        ),
    )
    config: dict[str, JsonValue] | None = Field(
        default=None,
        description="The plugin's configuration for these requests, instead of plugin.config.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    config_disabled: bool | None = Field(
        default=None,
        description=(
            "Only false: Higress's configDisable leaves the rule out and does not keep the plugin off these requests."
        ),
    )


class Plugin(Model):
    """How the gateways run the plugin; the fields of Istio's WasmPlugin, and some that only Higress has."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(self.configDisabled) || !self.configDisabled || "
                    "(has(self.matchRules) && self.matchRules.size() > 0)",
                    "with configDisabled and without matchRules Higress takes the plugin off all gateways: name the "
                    "requests that are to have it in matchRules, or delete the PluginRelease",
                )
            ]
        }
    )

    name: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None,
        description="The plugin's name inside its module (Envoy's root_id), for a module that has several.",
    )
    phase: Phase | None = Field(
        default=None,
        description="Where in the filter chain: before authentication, authorization or stats; unset: after them.",
    )
    priority: Annotated[int, Field(ge=-(2**31), le=2**31 - 1)] | None = Field(
        default=None,
        description=(
            "Order within the phase, higher first. Unset comes after every number, also negative ones. Higress needs "
            "it: plugins of no or of the same priority have no order there that lasts."
        ),
        json_schema_extra={"format": "int32"},
    )
    fail_strategy: FailStrategy = Field(
        default=FailStrategy.FAIL_CLOSE,
        description=(
            "What happens to requests when the plugin fails: FAIL_CLOSE refuses them, FAIL_OPEN lets them through "
            "without the plugin, FAIL_RELOAD (Istio 1.27 and newer, not Higress) starts the plugin anew and refuses "
            "meanwhile."
        ),
    )
    config: dict[str, JsonValue] | None = Field(
        default=None,
        description="The plugin's configuration, given to it as JSON. With Higress: for requests that no rule is for.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    config_disabled: bool | None = Field(
        default=None,
        description="Higress: the plugin acts only on requests that matchRules name; config is not used.",
    )
    match_rules: Annotated[list[MatchRule], Field(max_length=64)] | None = Field(
        default=None, description="Higress: other configurations for some requests. The first rule that matches counts."
    )
    env: Annotated[list[EnvironmentVariable], Field(max_length=256)] | None = Field(
        default=None,
        description="The environment that the module sees.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
