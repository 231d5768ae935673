"""A release → the WasmPlugin that makes Higress's gateways load the plugin, and where those gateways are.

Its kind lacks what Istio's has (selector, targetRefs, match, type, FAIL_RELOAD): the API server drops such fields
without a word, so none is written. Fields and conversion: higress ``api/extensions/v1alpha1/wasmplugin.proto``,
``pkg/ingress/config/ingress_config.go``. This module is a `core.providers.Provider`; docs/higress.md has the traps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pluginrelease.core import api, compat, target
from pluginrelease.core import revision as revisions
from pluginrelease.core.envoy import Sighting
from pluginrelease.core.errors import Refused

JSON = dict[str, Any]

TARGET = target.Kind(
    "extensions.higress.io", "v1alpha1", "WasmPlugin", "wasmplugins", "Install Higress's CRDs (chart higress/higress)"
)
CONTAINER = "higress-gateway"
RULES = "_rules_"
# the controller's keys in a rule (convertIstioWasmPlugin), and one that only plugins know (wasm-go, rule_matcher.go)
CONDITIONS = {"ingress": "_match_route_", "service": "_match_service_", "domain": "_match_domain_"}
RESERVED = frozenset({RULES, *CONDITIONS.values(), "_match_route_prefix_"})
LABEL_ROOM = 63


def pods(gateway: api.Gateway, mesh: target.Mesh) -> target.Pods:
    """Every gateway pod of the installation: its controller has one selector for all plugins (pkg/cmd/server.go)."""
    del mesh
    return target.Pods(gateway.namespace, {"higress": f"{gateway.namespace}-higress-gateway"}, CONTAINER)


def landmarks(gateway: api.Gateway) -> target.Landmarks | None:
    """A controller reads the WasmPlugins of its own namespace only, and says nothing of others."""
    namespace = gateway.namespace
    return target.Landmarks(
        any_of=({"app": "higress-controller"}, {"higress": f"{namespace}-higress-gateway"}),
        missing=Refused(
            "NotHigressNamespace",
            f"no pod of Higress's controller or gateway is in namespace {namespace} (gateway.namespace), and Higress "
            "reads the plugins of its own namespace only",
            "Make a new PluginRelease that names the namespace of the installation (usually higress-system): kubectl "
            "get pods -A -l app=higress-controller. It is looked for again every half minute",
            recheck=target.RECHECK,
        ),
    )


def hosts(seen: Iterable[Sighting]) -> tuple[compat.Host, ...]:
    """What the pods' Envoys have for plugins, by Higress's own version; without a pod it is some Higress all the same,
    whose ABI and functions are more than Envoy's."""
    found = tuple(compat.higress(sighting.pod.image, sighting.envoy_version) for sighting in seen)
    return found or (compat.higress("", None),)


def configuration(plugin: api.Plugin) -> Mapping[str, Any] | None:
    """What Higress's controller makes of configuration and rules, and Envoy is given (convertIstioWasmPlugin)."""
    common = {} if plugin.config_disabled else dict(plugin.config or {})
    rules = [converted(rule) for rule in plugin.match_rules or []]
    return {**common, RULES: rules} if rules else common


def converted(rule: api.MatchRule) -> JSON:
    """One rule as plugins read it: its configuration and its conditions in one object."""
    named = rule.wire()
    return {**(rule.config or {}), **{key: named[field] for field, key in CONDITIONS.items() if named.get(field)}}


def check(plugin: api.Plugin) -> None:
    """Raises `Refused` (ReservedKey) for a configuration with a key that is the controller's own."""
    for path, key in taken(plugin):
        raise Refused(
            "ReservedKey",
            f"{path} has the key {key}, which Higress's controller writes itself and would replace",
            "Write rules as plugin.matchRules, and give a setting of the plugin another name",
        )


def taken(plugin: api.Plugin) -> Iterator[tuple[str, str]]:
    """The reserved keys of the configurations, and where they are."""
    places = {"plugin.config": plugin.config or {}}
    places |= {
        f"plugin.matchRules[{number}].config": rule.config or {} for number, rule in enumerate(plugin.match_rules or [])
    }
    return ((path, key) for path, config in places.items() for key in sorted(RESERVED & config.keys()))


def wasm_plugin(release: api.Release, artifact: api.ArtifactStatus, nudge: int = 0) -> JSON:
    """The WasmPlugin, with the image pinned by the digest of its manifest, never by a tag; ``nudge`` as in
    `target.carrier`.

    ``pluginConfig`` is never written: it would make the controller ignore the configuration and all rules.
    """
    plugin = release.spec.plugin
    carrier = target.carrier(release, artifact, TARGET, nudge)
    carrier["metadata"]["labels"].update(console_labels(release, artifact))
    optional = {
        "pluginName": plugin.name,
        "phase": plugin.phase and str(plugin.phase),
        "priority": plugin.priority,
        "defaultConfig": target.configuration(plugin),
        "defaultConfigDisable": plugin.config_disabled,
        "matchRules": [written(rule) for rule in plugin.match_rules or []] or None,
        "imagePullSecret": target.pull_secret_name(release),
        "vmConfig": target.vm_config(plugin),
    }
    return {
        **carrier,
        "spec": {
            "url": f"oci://{artifact.image}",
            "imagePullPolicy": "IfNotPresent",
            "failStrategy": str(plugin.fail_strategy),
            **{key: value for key, value in optional.items() if value is not None},
        },
    }


def written(rule: api.MatchRule) -> JSON:
    """One rule in Higress's words; a rule that is switched off cannot come this far."""
    conditions = {key: value for key, value in rule.wire().items() if key in CONDITIONS}
    return {**conditions, "config": rule.config or {}, "configDisable": False}


def console_labels(release: api.Release, artifact: api.ArtifactStatus) -> dict[str, str]:
    """By these Higress's console finds a plugin that is not one of its own, and tells versions apart
    (higress-console, KubernetesConstants.java)."""
    return {
        "higress.io/resource-definer": "higress",
        "higress.io/wasm-plugin-name": label_value(target.object_name(release)),
        "higress.io/wasm-plugin-version": artifact.digest.removeprefix("sha256:")[:12],
        "higress.io/wasm-plugin-category": "custom",
        "higress.io/wasm-plugin-built-in": "false",
    }


def label_value(name: str) -> str:
    """A name as a label takes it, which has a quarter of the room; a long one ends in its hash."""
    if len(name) <= LABEL_ROOM:
        return name
    return f"{re.sub('[^a-z0-9]+$', '', name[: LABEL_ROOM - 11])}-{revisions.digest_of(name)}"
