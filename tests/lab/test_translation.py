"""What the lab makes of one of Higress's WasmPlugins: the rules and the traps of ``convertIstioWasmPlugin``."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from pluginrelease_lab import higress
from pluginrelease_lab.higress import InvalidPlugin

# words of Higress's controller
NO_CONDITION = r"^invalid match rule has no match condition, rule:\{"
NOT_JSON = "failed to unmarshal"

JSON = dict[str, Any]
SELECTOR = {"matchLabels": {"higress": "higress-system-higress-gateway"}}
RULE = {"domain": ["a.example"], "config": {"on": True}}
INSIDE = {"on": True, "_match_domain_": ["a.example"]}


class Configured(NamedTuple):
    """A spec, and the configuration that the plugin gets; None: it is handed over without one."""

    why: str
    spec: JSON
    config: JSON | None


CONFIGURED = [
    Configured("nothing is configured", {}, None),
    Configured("the default is for every route", {"defaultConfig": {"on": False}}, {"on": False}),
    Configured(
        "rules stand beside the default",
        {"defaultConfig": {"on": False}, "matchRules": [RULE]},
        {"on": False, "_rules_": [INSIDE]},
    ),
    Configured(
        "a disabled default leaves the rules alone",
        {"defaultConfig": {"on": False}, "defaultConfigDisable": True, "matchRules": [RULE]},
        {"_rules_": [INSIDE]},
    ),
    Configured(
        "every condition has its key",
        {"matchRules": [{"ingress": ["ns/i"], "service": ["s.ns.svc:80"], "domain": ["d"], "config": {}}]},
        {"_rules_": [{"_match_route_": ["ns/i"], "_match_service_": ["s.ns.svc:80"], "_match_domain_": ["d"]}]},
    ),
    Configured(
        "a rule needs no configuration", {"matchRules": [{"domain": ["d"]}]}, {"_rules_": [{"_match_domain_": ["d"]}]}
    ),
    Configured(
        "rules keep their order: the first that matches wins",
        {"matchRules": [{"domain": ["b"]}, {"domain": ["a"]}]},
        {"_rules_": [{"_match_domain_": ["b"]}, {"_match_domain_": ["a"]}]},
    ),
    Configured(
        "a disabled rule is left out, and the default applies where it would have",
        {"defaultConfig": {"on": False}, "matchRules": [{**RULE, "configDisable": True}]},
        {"on": False},
    ),
    Configured(
        "a disabled rule needs no condition", {"matchRules": [{"configDisable": True}, RULE]}, {"_rules_": [INSIDE]}
    ),
    Configured(
        "pluginConfig hides default and rules, and what is wrong with them",
        {"pluginConfig": {"on": 1}, "defaultConfig": {"on": 2}, "defaultConfigDisable": True, "matchRules": [{}]},
        {"on": 1},
    ),
    Configured("an empty pluginConfig hides them too", {"pluginConfig": {}, "matchRules": [RULE]}, {}),
    Configured(
        "a route type takes the place of each route's name, and leaves the other conditions",
        {"matchRules": [{"routeType": "GRPC", "ingress": ["ns/a", "ns/b"], "domain": ["d"]}]},
        {"_rules_": [{"_match_route_": ["GRPC", "GRPC"], "_match_domain_": ["d"]}]},
    ),
    Configured(
        "the route type HTTP changes nothing", {"matchRules": [{**RULE, "routeType": "HTTP"}]}, {"_rules_": [INSIDE]}
    ),
]


@pytest.mark.parametrize("case", CONFIGURED, ids=lambda case: case.why)
def test_the_configuration_that_the_plugin_gets(case: Configured) -> None:
    """Default and rules become one object, with the rules where the plugin's SDK looks for them."""
    made = higress.translate(case.spec)
    assert made is not None
    assert made.get("pluginConfig") == case.config
    assert made["selector"] == SELECTOR


@pytest.mark.parametrize("rules", [[], [{**RULE, "configDisable": True}]], ids=["no rule", "no rule that counts"])
def test_a_plugin_whose_default_is_disabled_and_that_has_no_rule_is_taken_off(rules: list[JSON]) -> None:
    """Higress's console makes plugins this way; none of them gets to a gateway."""
    assert higress.translate({"url": "oci://r/p", "defaultConfigDisable": True, "matchRules": rules}) is None


@pytest.mark.parametrize("rule", [{}, {"config": {"on": True}}, {"domain": [], "ingress": [], "service": []}])
def test_a_rule_without_a_condition_is_refused_in_higress_s_words(rule: JSON) -> None:
    """One is enough, whatever the others are."""
    with pytest.raises(InvalidPlugin, match=NO_CONDITION):
        higress.translate({"matchRules": [RULE, rule]})


def test_everything_else_is_passed_on_as_it_is() -> None:
    """Where the plugin is from, when it runs and what happens when it fails are Istio's own fields."""
    passed: JSON = {
        "url": "oci://r/p@sha256:1",
        "sha256": "1",
        "imagePullPolicy": "Always",
        "imagePullSecret": "s",
        "pluginName": "root",
        "phase": "AUTHN",
        "priority": 0,
        "failStrategy": "FAIL_OPEN",
        "vmConfig": {"env": [{"name": "A", "value": "b"}]},
    }
    assert higress.translate(passed) == {**passed, "selector": SELECTOR}


def test_what_is_not_said_is_left_to_istio() -> None:
    """A priority of null is none: such a plugin comes after every other of its phase."""
    assert higress.translate({"url": "oci://r/p", "priority": None}) == {"url": "oci://r/p", "selector": SELECTOR}


# ------------------------------------------------------------------------------------------------------ placeholders

THERE = {("other", "keys", "token"): "s3cret", ("higress-system", "keys", "token"): "own"}


def value_of(of: str, namespace: str, name: str, key: str) -> str:
    if of != "secret" or (namespace, name, key) not in THERE:
        raise higress.Unreplaced(f"secret {namespace}/{name} not found")
    return THERE[namespace, name, key]


@pytest.mark.parametrize(
    ("spec", "made"),
    [
        ({"a": "${secret.other/keys.token}"}, {"a": "s3cret"}),
        ({"a": "Bearer ${secret.keys.token}!"}, {"a": "Bearer own!"}),
        ({"${secret.keys.token}": ["${secret.keys.token}${secret.other/keys.token}"]}, {"own": ["owns3cret"]}),
        ({"a": "${HOSTNAME} $(HOSTNAME) ${a.b}"}, {"a": "${HOSTNAME} $(HOSTNAME) ${a.b}"}),
    ],
)
def test_a_placeholder_becomes_the_secrets_value(spec: JSON, made: JSON) -> None:
    """Anywhere in the object, also in a key; what has fewer parts is left alone."""
    assert higress.replaced(spec, value_of) == made


@pytest.mark.parametrize(
    "spec",
    [
        {"a": "${secret.keys.token}", "b": "${secret.keys.none}"},
        {"a": "${secret.keys.token}", "b": "${request.header.host}"},
        {"a": "${secret.keys.token}", "b": "${a.b.c"},
    ],
)
def test_one_that_cannot_be_had_leaves_all_of_the_object_as_they_are(spec: JSON) -> None:
    """Higress logs the first and hands the text over."""
    with pytest.raises(higress.Unreplaced):
        higress.replaced(spec, value_of)


@pytest.mark.parametrize("value", ['a"b', "a\nb"])
def test_a_value_that_breaks_the_json_leaves_them_as_they_are(value: str) -> None:
    """It is put into the text of the object as it is."""
    with pytest.raises(higress.Unreplaced, match=NOT_JSON):
        higress.replaced({"a": "${secret.keys.token}"}, lambda *_: value)


def test_a_value_can_write_keys_of_its_own() -> None:
    """Higress's own fault, which the operator refuses such a value for."""
    made = higress.replaced({"a": "${secret.keys.token}"}, lambda *_: 'x","admin":true,"b":"y')
    assert made == {"a": "x", "admin": True, "b": "y"}
