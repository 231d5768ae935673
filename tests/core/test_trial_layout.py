"""The files of a trial: what Envoy reads is what Istio's or Higress's agent would give it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.core import compat, wasm
from pluginrelease.core.compat import Host
from pluginrelease.core.gateway.extensions import Extensions
from pluginrelease.core.mesh.placement import placements
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.trial import control, gateway_facts, layout, revisions, stubs
from pluginrelease.core.trial.gateway_facts import GatewayFacts
from pluginrelease.core.trial.layout import TrialPlace, Upstream
from pluginrelease.core.trial.revisions import TrialRevision
from tests import wasm_modules

ECHO = Upstream("127.0.0.1", 10000)
PLACE = TrialPlace("/trial", ECHO, ECHO)
DIGEST = "sha256:" + "a" * 64
TRANSLATED = "istio-ingress.auth~istio-translated-wasmplugin"


def describe(
    host: Host, plugin: dict[str, Any] | None = None, provider: str = "Istio", module: bytes = b""
) -> TrialRevision:
    """The revision of a release with this plugin."""
    namespace = "higress-system" if provider == "Higress" else "istio-ingress"
    entry: dict[str, Any] = {"name": "public", "namespace": namespace, "objectName": "auth"}
    if provider == "Istio":
        entry["selector"] = {"matchLabels": {"istio": "ingressgateway"}}
    release = api.Release.model_validate(
        {
            "metadata": {"name": "auth", "namespace": namespace, "uid": "u"},
            "spec": {
                "provider": provider,
                "artifact": {"image": {"ref": "r.example/auth:1"}},
                "gateways": [entry],
                "plugin": plugin or {},
            },
            "status": {},
        }
    )
    artifact = api.ArtifactStatus(
        ref="r.example/auth:1", image=f"r.example/auth@{DIGEST}", digest=DIGEST, wasm_sha256="", size=0, layout=""
    )
    read = wasm.read(module or wasm_modules.answering("a"))
    return revisions.describe(Candidate(placements(release)[0], artifact), read, host)


def inner(revision: TrialRevision, place: TrialPlace = PLACE) -> dict[str, Any]:
    """Envoy's PluginConfig of a revision."""
    [resource] = layout.render_extension(place, revision)["resources"]
    config: dict[str, Any] = resource["typed_config"]["config"]
    return config


NEW, OLD, OLDEST = compat.envoy("1.40.0"), compat.envoy("1.37.0"), compat.envoy("1.31.0")


@pytest.mark.parametrize(
    ("host", "provider", "name", "ecds", "why"),
    [
        (NEW, "Istio", TRANSLATED, f"extensions.istio.io/trafficextension/{TRANSLATED}", "Istio 1.30 and newer"),
        (compat.envoy("x"), "Istio", TRANSLATED, f"extensions.istio.io/trafficextension/{TRANSLATED}", "as the newest"),
        (OLD, "Istio", "istio-ingress.auth", "extensions.istio.io/wasmplugin/istio-ingress.auth", "before"),
        (
            compat.higress("", "1.36.0"),
            "Higress",
            "higress-system.auth",
            "extensions.istio.io/wasmplugin/higress-system.auth",
            "its istiod translates nothing",
        ),
    ],
)
def test_names_are_those_of_the_gateways_version(host: Host, provider: str, name: str, ecds: str, why: str) -> None:
    """Envoy's log lines and statistics have the same names as in a gateway."""
    found = describe(host, provider=provider)
    assert (found.plugin_name, found.ecds_name) == (name, ecds), why
    assert found.wanted.plugin_name_matches(name)
    assert found.wanted.ecds_name_matches(ecds)


@pytest.mark.parametrize(
    ("plugin", "host", "wanted", "why"),
    [
        ({}, NEW, {"failure_policy": "FAIL_CLOSED", "root_id": ""}, "no configuration is none at all"),
        ({"config": {}}, NEW, {"failure_policy": "FAIL_CLOSED", "root_id": ""}, "and so is an empty one"),
        ({"failStrategy": "FAIL_OPEN"}, NEW, {"failure_policy": "FAIL_OPEN", "root_id": ""}, "Istio 1.25"),
        ({"failStrategy": "FAIL_OPEN"}, OLDEST, {"fail_open": True, "root_id": ""}, "before"),
        ({}, OLDEST, {"fail_open": False, "root_id": ""}, "before"),
        (
            {"name": "auth_root", "config": {"a": "ä", "n": 1}, "failStrategy": "FAIL_RELOAD"},
            NEW,
            {
                "failure_policy": "FAIL_RELOAD",
                "root_id": "auth_root",
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": '{"a":"ä","n":1}',
                },
            },
            "a StringValue with JSON",
        ),
    ],
)
def test_the_plugin_is_what_the_agent_writes(
    plugin: dict[str, Any], host: Host, wanted: dict[str, Any], why: str
) -> None:
    """Istio's agent replaces the image by a local file, and passes on the rest."""
    found = inner(describe(host, plugin))
    assert found.pop("name").startswith("istio-ingress.auth")
    assert found.pop("vm_config") == {
        "runtime": "envoy.wasm.runtime.v8",
        "code": {"local": {"filename": f"/trial/modules/{'a' * 64}.wasm"}},
    }
    assert found == wanted, why


def test_the_environment_is_passed_on() -> None:
    """Values go to the VM; a variable of the container has no value here, which the plan says."""
    found = describe(NEW, {"env": [{"name": "LEVEL", "value": "info"}, {"name": "TOKEN", "valueFrom": "HOST"}]})
    assert inner(found)["vm_config"]["environment_variables"] == {
        "key_values": {"LEVEL": "info"},
        "host_env_keys": ["TOKEN"],
    }
    assert len(found.unknown_values) == 1
    assert "TOKEN" in found.unknown_values[0]


def test_rules_of_higress_are_rendered_as_its_controller_does() -> None:
    """The plugin gets its rules in one configuration; a placeholder is a value that a trial does not have."""
    rules = [{"domain": ["a.example"], "config": {"b": 2}}]
    found = describe(NEW, {"config": {"b": 1, "key": "${secret.a/b.c}"}, "matchRules": rules}, "Higress")
    assert json.loads(inner(found)["configuration"]["value"]) == {
        "b": 1,
        "key": "${secret.a/b.c}",
        "_rules_": [{"b": 2, "_match_domain_": ["a.example"]}],
    }
    assert found.unknown_values


def test_native_code_runs_only_in_higress() -> None:
    """Higress's agent chooses another runtime for a module with native code; Istio ignores it."""
    native = wasm_modules.answering("a") + wasm_modules.section(0, wasm_modules.name("wamr-aot") + b"native")
    host = compat.higress("", "1.36.0")
    assert inner(describe(host, provider="Higress", module=native))["vm_config"]["runtime"] == "envoy.wasm.runtime.wamr"
    assert inner(describe(NEW, module=native))["vm_config"]["runtime"] == "envoy.wasm.runtime.v8"


def test_calls_that_depend_on_the_gateway_are_found() -> None:
    """What a plugin imports decides whether its refusal may come from its place."""
    assert describe(NEW, module=wasm_modules.licensed("a")).place_calls == ("proxy_get_property",)
    assert describe(NEW).place_calls == ()


def test_an_envoy_reads_a_trial_as_a_gateway() -> None:
    """The reader of gateways' dumps finds the plugin under its name, with its digest and configuration."""
    revision = describe(NEW, {"config": {"a": 1}})
    [resource] = layout.render_extension(PLACE, revision)["resources"]
    dump = {"configs": [{"ecds_filters": [{"ecds_filter": resource, "last_updated": "2026-01-01T00:00:00Z"}]}]}
    unknown: list[str] = []
    [entry] = Extensions.read(json.dumps(dump), revision.wanted, unknown).ours
    assert (entry.digest_hex, entry.config, entry.fail, unknown) == ("a" * 64, {"a": 1}, "FAIL_CLOSED", [])


@pytest.mark.parametrize("has_stable", [True, False])
def test_a_trial_begins_with_the_stable_revision_or_with_the_control(has_stable: bool) -> None:
    """Without a stable revision Envoy first proves that it runs plugins at all."""
    revision = describe(NEW)
    files = layout.render_files(PLACE, revision, revision if has_stable else None)
    assert files[layout.LISTENERS] == files[layout.LISTEN_PLUGIN if has_stable else layout.LISTEN_CONTROL]
    assert (layout.EXTENSION in files, layout.CONTROL_EXTENSION in files) == (has_stable, not has_stable)
    assert {layout.BOOTSTRAP, layout.NEW, layout.LISTEN_PLAIN} <= set(files)
    assert wasm.read(control.CONTENT).abis == ("0_2_1",)


DUMP = {
    "configs": [
        {
            "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
            "bootstrap": {
                "node": {
                    "id": "router~10.0.0.1~gw.istio-ingress~x",
                    "cluster": "gw.istio-ingress",
                    "metadata": {"LICENSE": "yes"},
                    "locality": {"region": "eu"},
                    "user_agent_name": "envoy",
                    "extensions": [{"name": "x"}],
                },
                "layered_runtime": {
                    "layers": [
                        {"name": "global config", "static_layer": {"re2.max_program_size.error_level": 32768}},
                        {"name": "rtds", "rtds_layer": {"name": "x"}},
                        {"name": "admin", "admin_layer": {}},
                    ]
                },
                "stats_config": {
                    "stats_tags": [{"tag_name": "cluster_name", "regex": "x"}],
                    "use_all_default_tags": False,
                    "stats_matcher": {"inclusion_list": {"patterns": [{"prefix": "server"}]}},
                },
                "tracing": {"http": {}},
                "dynamic_resources": {"ads_config": {}},
            },
        },
        {
            "static_clusters": [{"cluster": {"name": "xds-grpc"}}],
            "dynamic_active_clusters": [{"cluster": {"name": "outbound|80||auth.shop.svc.cluster.local"}}, {}],
        },
    ]
}
INFO = {"version": "abc/1.39.3/Clean/RELEASE/BoringSSL", "command_line_options": {"concurrency": 4}}


def test_the_bootstrap_is_that_of_the_gateway_without_its_control_plane() -> None:
    """Node, static runtime, tags and threads are taken over; what reaches out, or hides statistics, is not."""
    facts = gateway_facts.read(json.dumps(DUMP), json.dumps(INFO))
    found = layout.render_bootstrap(replace(PLACE, facts=facts))
    assert set(found) == {
        *("node", "admin", "dynamic_resources", "static_resources", "layered_runtime", "stats_config"),
    }
    assert set(found["node"]) == {"id", "cluster", "metadata", "locality"}
    assert [layer["name"] for layer in found["layered_runtime"]["layers"]] == ["global config"]
    assert set(found["stats_config"]) == {"stats_tags", "use_all_default_tags"}
    assert list(found["dynamic_resources"]) == ["lds_config"]
    assert found["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"
    assert (facts.concurrency, facts.envoy, facts.unknown) == (4, "1.39.3", ())
    assert facts.clusters == ("xds-grpc", "outbound|80||auth.shop.svc.cluster.local")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"configs": 1}', '{"configs": [{"bootstrap": 1}]}'])
def test_a_dump_of_another_shape_is_said(text: str) -> None:
    """Without a bootstrap the defaults apply, and what was not understood is listed."""
    facts = gateway_facts.read(text)
    assert facts.unknown
    assert (facts.is_known, facts.node) == (False, GatewayFacts().node)


KNOWN = ("outbound|80||auth.shop.svc.cluster.local", "outbound|443||other.example", "xds-grpc")


@pytest.mark.parametrize(
    ("config", "known", "wanted", "why"),
    [
        ({"host": "auth.shop.svc.cluster.local"}, KNOWN, {KNOWN[0]}, "the gateway's own name"),
        ({"a": [{"service": "auth"}]}, KNOWN, {KNOWN[0]}, "a service without its namespace"),
        ({"url": "https://other.example:8443/x"}, KNOWN, {KNOWN[1]}, "within a URL"),
        ({"host": "auth.shop.svc.cluster.local"}, (), {"outbound|80||auth.shop.svc.cluster.local"}, "made up"),
        ({"name": "auth", "port": 8080}, (), {"outbound|8080||auth.dns", "outbound|8080||auth.static", "auth"}, "SDK"),
        (
            {"serviceName": "auth", "servicePort": 8080, "namespace": "shop"},
            (),
            {"outbound|8080||auth.shop.svc.cluster.local"},
            "Higress's guide",
        ),
        ({"cluster": "inbound|80||"}, KNOWN, {"inbound|80||"}, "a cluster itself"),
        ({"n": 1, "on": True}, KNOWN, set(), "no text"),
        (None, KNOWN, set(), "no configuration"),
    ],
)
def test_stubs_have_the_names_that_a_plugin_may_call(
    config: Any, known: tuple[str, ...], wanted: set[str], why: str
) -> None:
    """A cluster with the right name is there when the plugin calls it."""
    found = set(stubs.find(config, known))
    assert wanted <= found, why
    assert not known or found == wanted, why


def test_stubs_have_a_limit() -> None:
    """A configuration of many hosts makes no bootstrap without end."""
    config = {f"k{number}": f"host{number}.example" for number in range(5000)}
    assert len(stubs.find(config)) == stubs.MAX_STUBS
