"""The WasmPlugin that is written for Higress, where its gateways are, and what Envoy is given."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.core import compat, revision
from pluginrelease.core.errors import Refused
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.core.mesh import higress, istio, providers, target
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.rollout import conflict, plan
from pluginrelease.core.wasm import Export, ExternKind, FunctionType, Module
from tests.harness.releases import ARTIFACT, DIGEST, IMAGE, UID, manifest, placed

JSON = dict[str, Any]
GATEWAY: JSON = {"name": "all", "namespace": "higress-system"}
SHOP: JSON = {"ingress": ["demo/shop"], "config": {"mockEnable": True}}
MESH = target.MeshSettings()


def release(**changes: Any) -> api.Release:
    """A release in the namespace of Higress."""
    own = {
        "metadata__namespace": "higress-system",
        "spec__provider": "Higress",
        "spec__gateways": [GATEWAY],
        "spec__plugin__priority": 300,
    }
    return api.Release.model_validate(manifest(**{**own, **changes}))


def plugin(**fields: Any) -> api.Plugin:
    return api.Plugin.model_validate(fields)


def entry(**fields: Any) -> Placement:
    """The entry of a release whose plugin says this."""
    return placed(release(**{f"spec__plugin__{name}": value for name, value in fields.items()}))


def gateway() -> api.Gateway:
    return release().spec.gateways[0]


def test_the_whole_object() -> None:
    """All that a release says is in the WasmPlugin, in Higress's words, with the labels that its console looks for."""
    whole = release(
        spec__artifact__image__pullSecretRef={"name": "keys"},
        spec__plugin__name="mock",
        spec__plugin__phase="AUTHN",
        spec__plugin__failStrategy="FAIL_OPEN",
        spec__plugin__config={"mockEnable": False},
        spec__plugin__matchRules=[SHOP, {"domain": ["*.example.com"]}],
        spec__plugin__env=[{"name": "LEVEL", "value": "info"}, {"name": "HOSTNAME", "valueFrom": "HOST"}],
    )
    written = higress.wasm_plugin(placed(whole), ARTIFACT)
    assert written == {
        "apiVersion": "extensions.higress.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {
            "name": "auth-all",
            "namespace": "higress-system",
            "labels": {
                "app.kubernetes.io/managed-by": "pluginrelease",
                "pluginrelease.io/uid": UID,
                "higress.io/resource-definer": "higress",
                "higress.io/wasm-plugin-name": "auth-all",
                "higress.io/wasm-plugin-version": DIGEST[7:19],
                "higress.io/wasm-plugin-category": "custom",
                "higress.io/wasm-plugin-built-in": "false",
            },
            "annotations": {
                "pluginrelease.io/release": "higress-system/auth",
                "pluginrelease.io/gateway": "all",
                "pluginrelease.io/revision": revision.compute_identity(whole.spec, DIGEST),
            },
            "ownerReferences": [whole.as_owner()],
        },
        "spec": {
            "url": f"oci://{IMAGE}",
            "imagePullPolicy": "IfNotPresent",
            "failStrategy": "FAIL_OPEN",
            "pluginName": "mock",
            "phase": "AUTHN",
            "priority": 300,
            "defaultConfig": {"mockEnable": False},
            "matchRules": [
                {"ingress": ["demo/shop"], "config": {"mockEnable": True}, "configDisable": False},
                {"domain": ["*.example.com"], "config": {}, "configDisable": False},
            ],
            "imagePullSecret": "keys",
            "vmConfig": {
                "env": [
                    {"name": "LEVEL", "valueFrom": "INLINE", "value": "info"},
                    {"name": "HOSTNAME", "valueFrom": "HOST"},
                ]
            },
        },
    }


def test_nothing_is_written_that_higress_drops_or_is_misled_by() -> None:
    """No field that its kind lacks, and never pluginConfig, which would hide configuration and rules."""
    written = higress.wasm_plugin(entry(config={"a": 1}, matchRules=[SHOP]), ARTIFACT)
    assert not {"selector", "targetRefs", "match", "type", "pluginConfig"} & written["spec"].keys()


@pytest.mark.parametrize(
    ("fields", "given", "reason"),
    [
        ({}, {}, "nothing at all"),
        ({"config": {"a": 1}}, {"a": 1}, "for all requests"),
        (
            {"config": {"a": 1}, "matchRules": [SHOP]},
            {"a": 1, "_rules_": [{"mockEnable": True, "_match_route_": ["demo/shop"]}]},
            "a rule beside it",
        ),
        (
            {"config": {"a": 1}, "configDisabled": True, "matchRules": [SHOP]},
            {"_rules_": [{"mockEnable": True, "_match_route_": ["demo/shop"]}]},
            "only for the rule's requests",
        ),
        (
            {"matchRules": [{"ingress": ["r"], "service": ["s:80"]}, {"domain": ["*"], "configDisabled": False}]},
            {"_rules_": [{"_match_route_": ["r"], "_match_service_": ["s:80"]}, {"_match_domain_": ["*"]}]},
            "each condition by its key, in the order of the list",
        ),
    ],
)
def test_what_envoy_is_given(fields: JSON, given: JSON, reason: str) -> None:
    """What a gateway's dump must show is what Higress's controller makes of configuration and rules."""
    assert higress.configuration(plugin(**fields)) == given, reason


def test_istio_is_given_the_configuration_alone() -> None:
    """To Istio ``_rules_`` in a configuration is the plugin's own business."""
    config = {"a": 1, "_rules_": [{"_match_domain_": ["*"]}]}
    assert istio.configuration(plugin(config=config)) == config
    istio.check(placed(release(spec__plugin__config=config)), ())


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"config": {"_rules_": []}}, ["plugin.config", "_rules_"]),
        ({"config": {"_match_domain_": ["*"]}}, ["plugin.config", "_match_domain_"]),
        (
            {"matchRules": [SHOP, {**SHOP, "config": {"_match_route_prefix_": ["a"]}}]},
            ["plugin.matchRules[1].config", "_match_route_prefix_"],
        ),
    ],
)
def test_the_controllers_own_keys(fields: JSON, names: list[str]) -> None:
    """A key that the controller would replace, or that is a condition to plugins, is refused by its place."""
    with pytest.raises(Refused) as refused:
        higress.check(entry(**fields), ())
    assert refused.value.reason == "ReservedKey"
    assert all(name in refused.value.message for name in names)
    higress.check(entry(config={"rules": {"_rules_": 1}}, matchRules=[SHOP]), ())


RULES: list[tuple[JSON, str, str, str | None]] = [
    ({"ingress": ["demo/shop"]}, "2.2.4", "an Ingress of another namespace", None),
    ({"ingress": ["shop"]}, "2.2.4", "one of Higress's own", None),
    ({"ingress": ["GRPC/demo/shop"]}, "2.2.4", "a GRPCRoute", None),
    ({"ingress": ["GRPC/shop"]}, "2.2.4", "one of Higress's own", None),
    ({"ingress": ["higress-system-2/shop"]}, "2.2.4", "a namespace whose name begins alike", None),
    ({"ingress": ["a", "higress-system/shop"]}, "2.2.4", "its own namespace is never said", "Write shop"),
    ({"ingress": ["GRPC/higress-system/shop"]}, "2.2.4", "nor of a GRPCRoute", "Write GRPC/shop"),
    ({"service": ["echo.demo.svc.cluster.local"]}, "2.2.4", "a service", None),
    ({"service": ["echo.demo.svc.cluster.local:80"]}, "2.2.4", "with its port", None),
    ({"service": ["echo.static", "a.DEFAULT-GROUP.public.nacos"]}, "2.2.4", "of a registry", None),
    ({"service": ["echo.demo.svc.cluster.local:http"]}, "2.2.4", "Envoy's name has the port's number", "echo.demo"),
    ({"service": ["demo/echo"]}, "2.2.4", "no namespace/name", "echo.demo"),
    ({"service": ["outbound|80||echo.static"]}, "2.2.4", "not Envoy's name as a whole", "echo.demo"),
    ({"ingress": ["a"], "service": ["b.static"]}, "2.0.4", "both", None),
    ({"ingress": ["a"], "service": ["b.static"]}, "2.0.3", "the service is not looked at", "Upgrade"),
]


@pytest.mark.parametrize(("rule", "version", "reason", "remedy"), RULES, ids=[str(row[0]) for row in RULES])
def test_rules_that_no_request_fulfils(rule: JSON, version: str, reason: str, remedy: str | None) -> None:
    """Higress takes them without a word, and the plugin never acts: they are refused with the right form."""
    hosts = (compat.higress(f"gateway:{version}", None),)
    if remedy is None:
        higress.check(entry(matchRules=[rule]), hosts)
        return
    with pytest.raises(Refused) as refused:
        higress.check(entry(matchRules=[rule]), hosts)
    assert refused.value.reason == ("GatewayTooOld" if version == "2.0.3" else "RuleNeverMatches"), reason
    assert remedy in refused.value.remedy


def test_where_the_gateways_are() -> None:
    """All gateway pods of the installation whose namespace it is, by the label that its controller selects by."""
    found = providers.mesh_of(release().spec).pods(gateway(), MESH)
    assert found == target.Pods("higress-system", {"higress": "higress-system-higress-gateway"}, "higress-gateway")


def test_a_namespace_without_higress_is_told() -> None:
    """Nobody would read the object there: the refusal says where to look, and is looked at again."""
    known = higress.find_install_marker(api.Gateway(name="all", namespace="team-a"), MESH)
    assert known is not None
    assert {"app": "higress-controller"} in known.any_of
    assert known.missing.reason == "NotHigressNamespace"
    assert "namespace team-a" in known.missing.message
    assert known.missing.recheck == 30
    assert istio.find_install_marker(gateway(), MESH) is None, "istiod reads every namespace"


def test_gateways_that_it_deploys_for_a_gateway_each() -> None:
    """They are in any namespace, and no label makes them those of a release."""
    found = higress.select_unreached()
    assert found is not None
    assert (found.namespace, found.labels) == (None, {"gateway.higress.io/managed": "true"})
    assert istio.select_unreached() is None


def given(*labels: str) -> target.MeshSettings:
    """An operator that was given these labels."""
    parsed = [target.GatewayLabel.parse(label) for label in labels]
    assert None not in parsed
    return target.MeshSettings(higress_labels=tuple(label for label in parsed if label))


@pytest.mark.parametrize(
    ("labels", "found", "reason"),
    [
        ((), {"higress": "higress-system-higress-gateway"}, "as the chart has it"),
        (("higress=edge",), {"higress": "edge"}, "of every installation"),
        (("higress-system:example.com/gw=Edge_1", "higress=edge"), {"example.com/gw": "Edge_1"}, "of this one"),
        (("team-a:higress=edge",), {"higress": "higress-system-higress-gateway"}, "of another one"),
    ],
)
def test_gateways_of_another_label(labels: tuple[str, ...], found: JSON, reason: str) -> None:
    """What the operator was given for an installation counts before the chart's own label; no release can say it."""
    assert higress.pods(gateway(), given(*labels)).labels == found, reason


@pytest.mark.parametrize("text", ["", "higress", "=edge", "higress=", "A:b=c", "a b=c", "a=b,c=d", "a:b:c=d"])
def test_what_is_no_label(text: str) -> None:
    """The operator does not start with it."""
    assert target.GatewayLabel.parse(text) is None


def controller(*arguments: str, **metadata: Any) -> JSON:
    """A pod of Higress's controller, as the API server shows it."""
    args = ["serve", *arguments]
    containers = [{"name": "higress-core", "args": args}, {"name": "discovery"}]
    return {"metadata": metadata, "spec": {"containers": containers}}


USUAL = ("--gatewaySelectorKey=higress", "--gatewaySelectorValue=higress-system-higress-gateway")
EDGE = ("--gatewaySelectorKey", "gw", "--gatewaySelectorValue", "edge")


@pytest.mark.parametrize(
    ("seen", "labels", "reason", "words"),
    [
        ([controller(*USUAL)], (), None, ""),
        ([controller()], (), None, ""),  # an older one, which says nothing
        ([controller("--gatewaySelectorValue=higress-system-higress-gateway")], (), None, ""),  # the flag's own default
        ([controller(*EDGE)], (), "GatewayLabelDiffers", "--higress-gateway-label=higress-system:gw=edge"),
        ([controller(*EDGE)], ("gw=edge",), None, ""),  # the operator was given it
        ([controller(*USUAL)], ("gw=edge",), "GatewayLabelDiffers", "higress-system:higress=higress-system-higress-"),
        ([controller(*EDGE), controller(*USUAL)], (), None, ""),  # one of two during its own rollout
        ([controller(*EDGE, deletionTimestamp="now"), controller(*USUAL)], (), None, ""),  # one that is being deleted
        ([controller(*USUAL, "--watchNamespace=")], (), None, ""),  # every namespace
        ([controller(*USUAL, "--watchNamespace=higress-system")], (), None, ""),  # its own
        ([controller(*USUAL, "--watchNamespace=shop")], (), "NotHigressNamespace", "without global.watchNamespace"),
    ],
)
def test_what_a_controller_says_of_itself(
    seen: list[JSON], labels: tuple[str, ...], reason: str | None, words: str
) -> None:
    """It gives plugins to the pods that its arguments name, of the namespace that it reads: where that is not what the
    operator looks at, nothing is written, and the remedy has the flag."""
    known = higress.find_install_marker(gateway(), given(*labels))
    assert known is not None
    if reason is None:
        known.check(seen)
        return
    with pytest.raises(Refused) as refused:
        known.check(seen)
    assert refused.value.reason == reason
    assert words in refused.value.remedy
    assert refused.value.recheck == 30


def test_of_a_namespace_that_the_operator_was_told_nothing_is_looked_for() -> None:
    """An installation that the chart was made to call otherwise has neither of the usual pods."""
    assert higress.find_install_marker(gateway(), given("higress-system:higress=edge")) is None
    known = higress.find_install_marker(gateway(), given("higress=edge"))
    assert known is not None
    assert {"higress": "edge"} in known.any_of


HIGRESS_MODULE = Module(
    imports=(),
    exports=(
        Export("proxy_abi_version_0_2_100", ExternKind.FUNCTION, FunctionType()),
        Export("_initialize", ExternKind.FUNCTION, FunctionType()),
        Export("proxy_on_memory_allocate", ExternKind.FUNCTION, FunctionType(("i32",), ("i32",))),
        Export("memory", ExternKind.MEMORY),
    ),
    custom_sections=(),
    toolchain="Go",
    toolchain_version="1.26.8",
    size=1000,
)


@pytest.mark.parametrize(
    ("images", "state", "reason"),
    [
        (("gateway:2.2.4",), compat.CompatibilityState.COMPATIBLE, "Compatible"),
        (("gateway:2.2.4", "gateway:2.0.7"), compat.CompatibilityState.INCOMPATIBLE, "GatewayTooOld"),
        (("gateway@sha256:0",), compat.CompatibilityState.UNKNOWN, "GatewayVersionUnknown"),
        ((), compat.CompatibilityState.UNKNOWN, "GatewayVersionUnknown"),
    ],
)
def test_a_module_of_its_own_sdk(images: tuple[str, ...], state: compat.CompatibilityState, reason: str) -> None:
    """The version that counts is that of the pods' images, the oldest; before there is a pod nothing is refused for
    being Higress's."""
    pods = [PodRef("higress-system", f"gateway-{n}", str(n), ready=True, image=image) for n, image in enumerate(images)]
    seen = [PodObservation(pod, datetime(2026, 1, 1, tzinfo=UTC), unreachable="busy") for pod in pods]
    answer = compat.judge_strictest(HIGRESS_MODULE, higress.hosts(seen), "Higress")
    assert (answer.state, answer.reason) == (state, reason), answer.sentence()


def test_from_another_namespace() -> None:
    """A release of another namespace has no owner reference there, and a name that meets no other's."""
    written = higress.wasm_plugin(placed(release(metadata__namespace="team-a", metadata__name="a" * 200)), ARTIFACT)
    assert "ownerReferences" not in written["metadata"]
    assert written["metadata"]["namespace"] == "higress-system"
    label = written["metadata"]["labels"]["higress.io/wasm-plugin-name"]
    assert len(label) <= 63
    assert label.startswith("team-a-aaa")


LOADS: list[tuple[str, JSON, bool]] = [
    ("a rule more", {"spec__plugin__matchRules": [SHOP]}, False),
    ("the configuration switched off", {"spec__plugin__configDisabled": True}, False),
    ("a variable", {"spec__plugin__env": [{"name": "A", "value": "1"}]}, False),
    ("the priority", {"spec__plugin__priority": 7}, True),
    ("the phase", {"spec__plugin__phase": "AUTHZ"}, True),
]


@pytest.mark.parametrize(("reason", "changes", "same"), LOADS, ids=[row[0] for row in LOADS])
def test_what_envoy_loads_anew(reason: str, changes: JSON, same: bool) -> None:
    """Each is another revision; rules and environment are loaded anew, the place in the order is not."""
    before, after = release().spec, release(**changes).spec
    assert revision.compute_identity(before, DIGEST) != revision.compute_identity(after, DIGEST), reason
    assert (revision.compute_load(before, DIGEST) == revision.compute_load(after, DIGEST)) is same, reason


def test_two_releases_of_one_plugin() -> None:
    """On one installation the same plugin with the same rules is there twice; with other rules it is not."""
    mine = release(metadata__creationTimestamp="2026-01-02T00:00:00Z", spec__plugin__matchRules=[SHOP])
    changes = {"metadata__uid": "another", "metadata__creationTimestamp": "2026-01-01T00:00:00Z"}
    twin = release(**changes, spec__plugin__matchRules=[SHOP])
    other = release(**changes, spec__plugin__matchRules=[{**SHOP, "ingress": ["demo/cart"]}])
    assert [elder for elder, _ in conflict.find_older_duplicates(placed(mine), [twin], MESH)] == [twin]
    assert not list(conflict.find_older_duplicates(placed(mine), [other], MESH))


def test_gateways_of_two_meshes_are_apart() -> None:
    """A release for Istio's gateways is no rival of one for Higress's, not even in one namespace."""
    for_istio = {"name": "edge", "namespace": "higress-system", "selector": {"matchLabels": {"app": "gateway"}}}
    theirs = api.Release.model_validate(manifest(spec__gateways=[for_istio]))
    assert conflict.find_shared_pods(placed(release()), theirs, MESH) == []


def test_the_consoles_changes_are_no_drift() -> None:
    """What Higress's console adds to an object beside what is ours stays, and is no reason to write."""
    mine = release()
    stored = higress.wasm_plugin(placed(mine), ARTIFACT)
    stored["metadata"]["labels"]["higress.io/biz-type"] = "x"
    assert plan.draft(placed(mine), [(higress.wasm_plugin(placed(mine), ARTIFACT), stored)]).converged


@pytest.mark.parametrize(
    "name",
    [
        "higress-system.auth",
        "extensions.istio.io/wasmplugin/higress-system.auth",
        "extensions.istio.io/trafficextension/higress-system.auth~istio-translated-wasmplugin",
    ],
)
def test_the_plugins_name_in_every_line(name: str) -> None:
    """Higress up to 2.1 (Istio 1.19), 2.2 (Istio 1.27) and the istiod of the lab call the plugin's configuration so."""
    wanted = DesiredPlugin("higress-system", "auth", DIGEST[7:], {}, "FAIL_CLOSE")
    assert wanted.ecds_name_matches(name)
    assert wanted.plugin_name_matches(name)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"priority": 3000000000}, ("team-a/x (spec.priority 3000000000)",)),
        ({"priority": -(2**31) - 1}, ("team-a/x (spec.priority -2147483649)",)),
        ({"priority": 2**31 - 1}, ()),
        ({"priority": -(2**31)}, ()),
        ({"priority": None}, ()),
        ({}, ()),
        (None, ()),
    ],
)
def test_what_stops_the_controller(spec: JSON | None, told: tuple[str, ...]) -> None:
    """A priority that its type has no room for, in whatever namespace; to istiod no object is one."""
    found = [{"metadata": {"namespace": "team-a", "name": "x"}, **({} if spec is None else {"spec": spec})}]
    assert higress.unreadable(found) == told
    assert istio.unreadable(found) == ()
    assert not istio.STOPPED_BY_ONE
