"""Render a release as the WasmPlugin that Higress's gateways load, and find those gateways.

Its kind lacks fields of Istio's (selector, targetRefs, match, type). The API server drops such fields silently, so they
are not written. It refuses the value FAIL_RELOAD. Fields and conversion: higress
``api/extensions/v1alpha1/wasmplugin.proto``, ``pkg/ingress/config/ingress_config.go``. This module is a
`core.mesh.providers.Provider`; docs/higress.md explains the pitfalls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core import compat, config_values, placeholders
from pluginrelease.core import revision as revisions
from pluginrelease.core.errors import Refused
from pluginrelease.core.gateway.observations import PodObservation
from pluginrelease.core.mesh import target
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.placeholders import MEANT, Placeholder

JSON = dict[str, Any]

TARGET = target.ResourceKind(
    "extensions.higress.io", "v1alpha1", "WasmPlugin", "wasmplugins", "Install Higress's CRDs (chart higress/higress)"
)
CONTAINER = "higress-gateway"
FLAG = "--higress-gateway-label"
HINT = (
    f"Higress's chart can give its gateways another label (gateway.name, gateway.labels): give the operator {FLAG}. "
    "Gateways that Higress deploys for a Gateway each (label gateway.higress.io/managed) get no WasmPlugin."
)
RULES = "_rules_"
# the controller's keys in a rule (convertIstioWasmPlugin), and one that only plugins know (wasm-go, rule_matcher.go)
CONDITIONS = {"ingress": "_match_route_", "service": "_match_service_", "domain": "_match_domain_"}
RESERVED = frozenset({RULES, *CONDITIONS.values(), "_match_route_prefix_"})
LABEL_ROOM = 63
REPLACES = True
STOPPED_BY_ONE = True
# a number that the API server accepts for its kind, but that is too large for the controller's type
PRIORITIES = range(-(2**31), 2**31)
# two kinds of conditions in one rule (convertIstioWasmPlugin)
BOTH_CONDITIONS_SINCE = (2, 0, 4)
# The first release with placeholders, and the first that reads one without a namespace correctly if a "/" follows (its
# pkg/ingress/config/ingress_template.go).
PLACEHOLDERS_SINCE = (2, 1, 0)
SHORT_PLACEHOLDERS_SINCE = (2, 2, 1)


def pods(gateway: api.Gateway, mesh: target.MeshSettings) -> target.Pods:
    """Return where gateway pods are: all of the installation, because the controller has one selector for all plugins.

    Source: pkg/cmd/server.go.
    """
    found = find_label(gateway, mesh)
    return target.Pods(gateway.namespace, {found.key: found.value}, CONTAINER, HINT)


def find_label(gateway: api.Gateway, mesh: target.MeshSettings) -> target.GatewayLabel:
    """Return the label of its gateways: the setting for this installation, for all, or the chart's default."""
    given = {label.namespace: label for label in mesh.higress_labels}
    usual = target.GatewayLabel(gateway.namespace, "higress", f"{gateway.namespace}-higress-gateway")
    return given.get(gateway.namespace) or given.get(None) or usual


def select_unreached() -> target.Pods | None:
    """Return the pods that Higress deploys for each Gateway, in any namespace: no plugin reaches them.

    They lack the label that the controller selects by (helm/core/files/higress-kube-gateway.yaml, 2.2.4).
    """
    return target.Pods(
        None,
        {"gateway.higress.io/managed": "true"},
        CONTAINER,
        "Send requests that need this plugin through the installation's own gateways, or deploy none for a Gateway "
        "(global.enableGatewayAPIDeploymentController)",
    )


def find_install_marker(gateway: api.Gateway, mesh: target.MeshSettings) -> target.InstallMarker | None:
    """Return the pods that show that a controller reads this namespace; None if a setting names the namespace.

    A controller reads only the WasmPlugins of its own namespace, and reports nothing about others. If a setting names
    the very namespace, its owner knows that there is a controller.
    """
    namespace, found = gateway.namespace, find_label(gateway, mesh)
    if any(label.namespace == namespace for label in mesh.higress_labels):
        return None
    return target.InstallMarker(
        any_of=({"app": "higress-controller"}, {found.key: found.value}),
        missing=Refused(
            Reason.NOT_HIGRESS_NAMESPACE,
            f"no pod of Higress's controller or gateway is in namespace {namespace} (gateways[{gateway.name}]), and "
            "Higress reads the plugins of its own namespace only",
            "Make a new PluginRelease that names the namespace of the installation (usually higress-system): kubectl "
            "get pods -A -l app=higress-controller. If the chart gave the pods other labels, give the operator "
            f"{FLAG}. It is looked for again every half minute",
            recheck=target.RECHECK,
        ),
        check=lambda seen: check_controllers(gateway, found, seen),
    )


def check_pods(placement: Placement, before: Iterable[PodObservation]) -> None:
    """Accept all pods: Higress's controller gives every plugin to all of them."""
    del placement, before


def find_warnings(placement: Placement, before: Iterable[PodObservation]) -> tuple[compat.Warned, ...]:
    """Return nothing: every listener gets the plugin."""
    del placement, before
    return ()


def check_controllers(gateway: api.Gateway, looked_for: target.GatewayLabel, seen: Iterable[JSON]) -> None:
    """Check the controllers' own arguments.

    Raises `Refused` if they reach other gateways (``GatewayLabelDiffers``) or read another namespace
    (``NotHigressNamespace``).
    """
    said = [flags for pod in seen for flags in read_flags(pod) if "gatewaySelectorValue" in flags]
    labels = {
        f"{settings.get('gatewaySelectorKey', 'higress')}={settings['gatewaySelectorValue']}" for settings in said
    }
    if labels and str(looked_for) not in labels:
        theirs = min(labels)
        raise Refused(
            Reason.GATEWAY_LABEL_DIFFERS,
            f"Higress's controller in namespace {gateway.namespace} sends plugins to pods with the label {theirs}, "
            f"and the operator checks those with {looked_for}",
            f"Start the operator with {FLAG}={gateway.namespace}:{theirs} (chart: operator.higressGatewayLabels)",
            recheck=target.RECHECK,
        )
    watched = {settings.get("watchNamespace") or gateway.namespace for settings in said}
    if watched and gateway.namespace not in watched:
        raise Refused(
            Reason.NOT_HIGRESS_NAMESPACE,
            f"Higress's controller in namespace {gateway.namespace} watches namespace {min(watched)} only: "
            "it reads no WasmPlugin at all, because it uses only those of its own namespace",
            "Install Higress into the namespace that it watches, or without global.watchNamespace",
            recheck=target.RECHECK,
        )


def read_flags(pod: JSON) -> Iterator[dict[str, str]]:
    """Yield the flags of each container of a pod that is not being deleted, ``--name=value`` or ``--name value``."""
    if pod["metadata"].get("deletionTimestamp"):
        return
    for container in pod.get("spec", {}).get("containers", []):
        joined = " ".join(str(argument) for argument in container.get("args") or [])
        yield dict(re.findall(r"--(\w+)[= ]([^\s=]+)", joined))


def hosts(seen: Iterable[PodObservation]) -> tuple[compat.Host, ...]:
    """Return what the pods' Envoys offer to plugins, by Higress's own version.

    Without a pod it is still a Higress, whose ABI and functions are more than Envoy's.
    """
    found = tuple(compat.higress(sighting.pod.image, sighting.envoy_version) for sighting in seen)
    return found or (compat.higress("", None),)


def configuration(plugin: api.Plugin) -> Mapping[str, Any] | None:
    """Return the configuration that Higress's controller makes of configuration and rules, as Envoy receives it.

    Source: convertIstioWasmPlugin.
    """
    common = {} if plugin.config_disabled else dict(plugin.config or {})
    rules = [convert_rule(rule) for rule in plugin.match_rules or []]
    return {**common, RULES: rules} if rules else common


def convert_rule(rule: api.MatchRule) -> JSON:
    """Return one rule as plugins read it: its configuration and its conditions in one object."""
    fields = rule.wire()
    return {**(rule.config or {}), **{key: fields[field] for field, key in CONDITIONS.items() if fields.get(field)}}


def check(placement: Placement, hosts: tuple[compat.Host, ...]) -> None:
    """Raise `Refused` for what the controller would replace, or would ignore silently."""
    check_keys(placement.plugin)
    check_config_values(placement)
    check_rules(placement, hosts)
    check_placeholders(placement, hosts)


def check_config_values(placement: Placement) -> None:
    """Raise `Refused` (``InvalidConfigValue``) for a value of ``configFrom`` in which Higress would replace something.

    The controller may read every Secret of the cluster, so a value could name one of another namespace.
    """
    values = (placement.config.values if placement.config is not None else None) or ()
    for place, value in zip(config_values.list_places(placement.spec.plugin), values, strict=False):
        if "${" in json.dumps(value, ensure_ascii=False):
            raise place.refuse(
                Reason.INVALID_CONFIG_VALUE,
                "and its value has ${, where Higress puts in the value of a Secret",
                "Store a value without ${ there, or write the placeholder in plugin.config",
            )


def check_keys(plugin: api.Plugin) -> None:
    """Raise `Refused` (``ReservedKey``) for a configuration with a key that the controller uses itself."""
    for path, key in find_reserved(plugin):
        raise Refused(
            Reason.RESERVED_KEY,
            f"{path} has the key {key}, which Higress's controller writes itself and would replace",
            "Write rules as plugin.matchRules, and give a setting of the plugin another name",
        )


def find_reserved(plugin: api.Plugin) -> Iterator[tuple[str, str]]:
    """Yield the reserved keys in the configurations, with their paths."""
    places = {"plugin.config": plugin.config or {}}
    places |= {
        f"plugin.matchRules[{number}].config": rule.config or {} for number, rule in enumerate(plugin.match_rules or [])
    }
    return ((path, key) for path, config in places.items() for key in sorted(RESERVED & config.keys()))


def check_rules(placement: Placement, hosts: tuple[compat.Host, ...]) -> None:
    """Check the conditions of rules.

    Raises `Refused` for a condition that no request fulfils (``RuleNeverMatches``), and for two conditions of which an
    old Higress reads only one (``GatewayTooOld``).
    """
    old = [str(host) for host in hosts if isinstance(host, compat.Higress) and is_before(host, BOTH_CONDITIONS_SINCE)]
    for number, rule in enumerate(placement.spec.plugin.match_rules or []):
        path = f"plugin.matchRules[{number}]"
        for route in rule.ingress or []:
            check_route(f"{path}.ingress", route, placement.gateway.namespace)
        for service in rule.service or []:
            check_service(f"{path}.service", service)
        if old and rule.ingress and rule.service:
            raise Refused(
                Reason.GATEWAY_TOO_OLD,
                f"{path} has ingress and service, and Higress {old[0]}, as all before 2.0.4, reads ingress only",
                "Upgrade the gateway, or make the rule for one of the two",
            )


def check_route(path: str, route: str, own: str) -> None:
    """Check the name of a route.

    Routes of the installation's own namespace have a name without namespace (generateRouteName and
    GenerateUniqueRouteName, since 2.0.0).
    """
    kind, slash, name = route.partition("/")
    grpc = f"{kind}/" if kind == "GRPC" and slash else ""
    namespace, _, alone = (name if grpc else route).partition("/")
    if alone and namespace == own:
        raise Refused(
            Reason.RULE_NEVER_MATCHES,
            f"{path} has {route}, and Higress calls what is in its own namespace {own} by the name alone",
            f"Write {grpc}{alone}",
        )


def check_service(path: str, service: str) -> None:
    """Check a service of a rule: it must be the name in Envoy's ``outbound|PORT||NAME``, with its port as there."""
    name, colon, port = service.rpartition(":")
    numbered = not colon or port.isdecimal()
    if re.search(r"[|/\s]", service) or not numbered or (colon and not name):
        raise Refused(
            Reason.RULE_NEVER_MATCHES,
            f"{path} has {service}, which is not the name of a service in Envoy",
            "Write echo.demo.svc.cluster.local, with a port echo.demo.svc.cluster.local:80; for a service of a "
            "registry its name with the registry's type, such as echo.static",
        )


def is_before(host: compat.Higress, release: compat.HigressVersion) -> bool:
    """Return True if it is surely older. Without a known patch number it is not."""
    return host.release is not None and (host.exact or host.release[:2] < release[:2]) and host.release < release


def check_placeholders(placement: Placement, hosts: tuple[compat.Host, ...]) -> None:
    """Check the placeholders of Secrets' values.

    Raises `Refused` (``InvalidPlaceholder``) for one that the controller would pass to the plugin as text, and for one
    that reads a Secret in another namespace.
    """
    found, text = find_placeholders(placement), join_replaced_text(placement.plugin)
    other = placeholders.find_unsupported(text) if found else None
    for placeholder in found:
        if other is not None:
            raise placeholder.refuse(
                f"and {other[:80]} is there too: Higress replaces no placeholder at all beside one that is not for a "
                "Secret",
                "Write the other one without ${…}, or keep the secret out of the configuration",
            )
        check_reach(placement, placeholder)
        for host in hosts:
            check_version(placeholder, host, text)


def check_reach(placement: Placement, placeholder: Placeholder) -> None:
    """Refuse a Secret outside the release's namespace: the controller may read every Secret of the cluster."""
    own = placement.metadata.namespace
    if not placement.is_local and placeholder.namespace != own:
        raise placeholder.refuse(
            f"a Secret of namespace {placeholder.namespace}, and a release of another namespace than Higress's may "
            "name those of its own namespace only",
            f"Put the Secret into {own} and write ${{secret.{own}/{placeholder.name}.{placeholder.key}}}",
        )


def check_version(placeholder: Placeholder, host: compat.Host, text: str) -> None:
    """Raise `Refused` if this Higress does not understand the placeholder. An unknown version is accepted."""
    if not isinstance(host, compat.Higress):
        return
    if is_before(host, PLACEHOLDERS_SINCE):
        raise placeholder.refuse(f"and Higress {host} does not know placeholders", "Upgrade to Higress 2.1 or newer")
    short = MEANT + f"{placeholder.name}.{placeholder.key}}}"
    if is_before(host, SHORT_PLACEHOLDERS_SINCE) and "/" in text.partition(short)[2]:
        raise placeholder.refuse(
            f"and Higress {host}, as all before 2.2.1, takes what is before the next / for its namespace",
            f"Write the namespace: ${{secret.{placeholder.namespace}/{placeholder.name}.{placeholder.key}}}",
        )


def find_placeholders(placement: Placement) -> tuple[Placeholder, ...]:
    """Return the placeholders in configurations, conditions of rules, environment and name."""
    plugin, namespace = placement.spec.plugin, placement.gateway.namespace
    whole = {key: value for key, value in plugin.wire().items() if key in ("config", "matchRules", "env", "name")}
    found = (placeholder for key, value in whole.items() for placeholder in placeholders.find(value, f"plugin.{key}"))
    return tuple(replace(placeholder, namespace=placeholder.namespace or namespace) for placeholder in found)


def join_replaced_text(plugin: api.Plugin) -> str:
    """Return, in the controller's order, about the same JSON as the controller searches for placeholders."""
    given = [
        json.dumps(configuration(plugin), sort_keys=True),
        plugin.name or "",
        json.dumps(target.render_vm_config(plugin)),
    ]
    return f"{{{','.join(given)}}}"


def unreadable(found: Iterable[JSON]) -> tuple[str, ...]:
    """Return objects that stop the controller from reading any WasmPlugin.

    The controller decodes the list of all namespaces as a whole. The schema accepts a priority beyond 32 bits, but the
    list then fails. From then on the controller reads no WasmPlugin, and after a restart it serves nothing.
    """
    unreadable_plugins = []
    for plugin in found:
        own, priority = plugin["metadata"], (plugin.get("spec") or {}).get("priority")
        if priority is not None and priority not in PRIORITIES:
            unreadable_plugins.append(f"{own['namespace']}/{own['name']} (spec.priority {priority})")
    return tuple(sorted(unreadable_plugins))


def wasm_plugin(placement: Placement, artifact: api.ArtifactStatus, nudge: int = 0) -> JSON:
    """Return the WasmPlugin, with the image pinned by its manifest's digest, never by a tag.

    ``nudge`` is as in `target.make_head`. ``pluginConfig`` is never written: it would make the controller ignore the
    configuration and all rules.
    """
    plugin = placement.plugin
    pointers = config_values.list_pointers(placement.spec.plugin, "defaultConfig", "matchRules")
    carrier = target.make_head(placement, artifact, TARGET, nudge, pointers)
    carrier["metadata"]["labels"].update(console_labels(placement, artifact))
    optional = {
        "pluginName": plugin.name,
        "phase": plugin.phase and str(plugin.phase),
        "priority": plugin.priority,
        "defaultConfig": target.configuration(plugin),
        "defaultConfigDisable": plugin.config_disabled,
        "matchRules": [render_rule(rule) for rule in plugin.match_rules or []] or None,
        "imagePullSecret": target.pull_secret_name(placement),
        "vmConfig": target.render_vm_config(plugin),
    }
    return {
        **carrier,
        "spec": {
            "url": f"oci://{artifact.image}",
            "imagePullPolicy": target.pull_policy(nudge),
            "failStrategy": str(plugin.fail_strategy),
            **{key: value for key, value in optional.items() if value is not None},
        },
    }


def render_rule(rule: api.MatchRule) -> JSON:
    """Return one rule in Higress's format. A disabled rule is removed before."""
    conditions = {key: value for key, value in rule.wire().items() if key in CONDITIONS}
    return {**conditions, "config": rule.config or {}, "configDisable": False}


def console_labels(placement: Placement, artifact: api.ArtifactStatus) -> dict[str, str]:
    """Return the labels by which Higress's console finds a plugin that it did not install.

    It also compares versions by them. Source: higress-console, KubernetesConstants.java.
    """
    return {
        "higress.io/resource-definer": "higress",
        "higress.io/wasm-plugin-name": label_value(target.name_object(placement)),
        "higress.io/wasm-plugin-version": artifact.digest.removeprefix("sha256:")[:12],
        "higress.io/wasm-plugin-category": "custom",
        "higress.io/wasm-plugin-built-in": "false",
    }


def label_value(name: str) -> str:
    """Return a name shortened for a label, which has a quarter of the length. A long one ends in its hash."""
    if len(name) <= LABEL_ROOM:
        return name
    return f"{re.sub('[^a-z0-9]+$', '', name[: LABEL_ROOM - 11])}-{revisions.compute_digest(name)}"
