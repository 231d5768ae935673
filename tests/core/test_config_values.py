"""Values of Secrets and ConfigMaps in a plugin's configuration: where they go, how they are hashed, what shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from pluginrelease import api
from pluginrelease.core import config_values, revision
from pluginrelease.core.config_values import STAND_IN, ConfigValues, Place
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh import higress, istio, providers
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.rollout import facts, foreign_fields, kept_config, plan
from pluginrelease.core.rollout.actions import Wait
from pluginrelease.core.rollout.next_action import next_action
from tests.harness.releases import ARTIFACT, DIGEST, release

JSON = dict[str, Any]

PLANTED = "hunter2-planted"
KEY = bytes(32)


def source(path: str | None = None, **fields: Any) -> JSON:
    """Return one item of ``configFrom``."""
    return {"kind": "Secret", "name": "token", "key": "token", **({"path": path} if path else {}), **fields}


def plugin(*sources: JSON, **fields: Any) -> api.Plugin:
    return api.Plugin.model_validate({"configFrom": list(sources), **fields})


def known(*values: Any) -> ConfigValues:
    """Return values that were read; an ellipsis is one that is missing."""
    return ConfigValues("d" * 32, tuple({} if value is ... else {"value": value} for value in values))


MERGES: list[tuple[str, JSON | None, list[JSON], list[Any], JSON]] = [
    ("into an empty configuration", None, [source("/a/b")], ["x"], {"a": {"b": "x"}}),
    ("beside what is there", {"a": {"c": 1}}, [source("/a/b")], ["x"], {"a": {"c": 1, "b": "x"}}),
    ("in place of a text", {"a": "old"}, [source("/a")], ["x"], {"a": "x"}),
    ("a list is replaced", {"a": [1, 2]}, [source("/a")], [[3]], {"a": [3]}),
    (
        "objects are merged",
        {"a": {"b": 1, "c": {"d": 2}}},
        [source("/a")],
        [{"c": {"e": 3}}],
        {"a": {"b": 1, "c": {"d": 2, "e": 3}}},
    ),
    ("the whole", {"a": 1, "b": 2}, [source()], [{"b": 3}], {"a": 1, "b": 3}),
    ("a later item wins", None, [source("/a"), source("/a")], ["x", "y"], {"a": "y"}),
    ("a slash and a tilde in a key", None, [source("/a~1b/c~0d")], ["x"], {"a/b": {"c~d": "x"}}),
    ("what is missing adds nothing", {"a": 1}, [source("/b")], [...], {"a": 1}),
    ("null on the way is no object", {"a": None}, [source("/a/b")], ["x"], {"a": {"b": "x"}}),
    (
        "false, null and zero are values",
        None,
        [source("/a"), source("/b"), source("/c")],
        [False, None, 0],
        {"a": False, "b": None, "c": 0},
    ),
]


@pytest.mark.parametrize(("reason", "config", "sources", "values", "made"), MERGES, ids=[row[0] for row in MERGES])
def test_a_value_goes_to_its_place(
    reason: str, config: JSON | None, sources: list[JSON], values: list[Any], made: JSON
) -> None:
    """The plugin receives its configuration with the values over it, and the spec stays as it was."""
    written = plugin(*sources, config=config)
    assert config_values.fill(written, known(*values)).config == made
    assert written.config == config


@pytest.mark.parametrize("config", [{"a": "text"}, {"a": [1]}, {"a": 0}], ids=["text", "list", "number"])
def test_a_value_needs_an_object_on_its_way(config: JSON) -> None:
    """The refusal names the item and its path, and not the value."""
    with pytest.raises(Refused) as refused:
        config_values.fill(plugin(source("/a/b"), config=config), known(PLANTED))
    assert refused.value.reason == "ConfigPathConflict"
    assert PLANTED not in refused.value.sentence()


def test_a_rule_has_values_of_its_own() -> None:
    """Each value goes to the configuration of its own rule; a rule without ``configFrom`` stays as it is."""
    rules = [{"domain": ["a.example.com"]}, {"domain": ["b.example.com"], "configFrom": [source("/key")]}]
    filled = config_values.fill(plugin(source("/key"), matchRules=rules), known("common", "of the rule"))
    assert (filled.config, [rule.config for rule in filled.match_rules or []]) == (
        {"key": "common"},
        [None, {"key": "of the rule"}],
    )
    assert higress.configuration(filled) == {
        "key": "common",
        "_rules_": [{"_match_domain_": ["a.example.com"]}, {"key": "of the rule", "_match_domain_": ["b.example.com"]}],
    }


def test_a_value_that_is_not_known_has_a_stand_in() -> None:
    """The command line shows where a value goes; what would be merged over the whole is not shown."""
    written = plugin(source("/a/b"), source(), config={"c": 1})
    assert config_values.fill(written, None).config == {"a": {"b": STAND_IN}, "c": 1}


# ------------------------------------------------------------------------------------------------------- the hash


def test_the_hash_needs_its_key() -> None:
    """The same values have another hash with another key, so a reader cannot try short values against it."""
    values = known("1234").values or ()
    one, other = (config_values.compute_keyed_digest(key, values) for key in (KEY, b"\x01" * 32))
    assert (len(one), one == other) == (32, False)
    assert one == config_values.compute_keyed_digest(KEY, known("1234").values or ())
    assert one != config_values.compute_keyed_digest(KEY, known("1235").values or ())


def test_other_values_are_another_revision_and_another_load() -> None:
    """The hash of values is part of both; without ``configFrom`` nothing changes."""
    spec = release(spec__plugin={"configFrom": [source("/a")]}).spec
    for compute in (revision.compute_identity, revision.compute_load):
        assert len({compute(spec, DIGEST, digest) for digest in (None, "a" * 32, "b" * 32)}) == 3
    bare = release().spec
    assert revision.compute_load(bare, DIGEST) == revision.compute_load(bare, DIGEST, None)


def test_a_kept_revision_has_the_hash_and_no_value() -> None:
    """What is stored is enough to know the revision again; the values come from the Secret."""
    own = release(spec__plugin={"configFrom": [source("/a")], "config": {"b": 1}})
    placement = Placement(own, own.spec.gateways[0], known(PLANTED))
    stored = revision.manifest(own, ARTIFACT, 3, placement.config_digest)
    read = revision.read({**stored, "metadata": {**stored["metadata"]}})
    assert PLANTED not in str(stored)
    assert stored["data"]["schema"] != revision.SCHEMA, "an operator that knows no values must not read it"
    assert (read.revision, read.config) == (
        istio.wasm_plugin(placement, ARTIFACT)["metadata"]["annotations"][api.REVISION_ANNOTATION],
        ConfigValues("d" * 32),
    )


def test_the_kept_values_are_ours_and_come_back() -> None:
    """The Secret is immutable and the release's own; one that is not ours, or is damaged, is not used."""
    own = release()
    secret = kept_config.render_values(own, "0123456789", known(PLANTED, ...))
    assert (secret["metadata"]["name"], secret["immutable"]) == ("auth-0123456789-config", True)
    assert secret["metadata"]["ownerReferences"] == [own.as_owner()]
    assert kept_config.read_values(own, "0123456789", "d" * 32, secret) == known(PLANTED, ...)
    foreign = {**secret, "metadata": {**secret["metadata"], "labels": {}, "annotations": {}}}
    for damaged in (None, foreign, {**secret, "data": {}}, {**secret, "data": {"values.json": "eA=="}}):
        with pytest.raises(Refused) as refused:
            kept_config.read_values(own, "0123456789", "d" * 32, damaged)
        assert refused.value.reason == "ConfigNotKept"


# ------------------------------------------------------------------------------------------------- what shows it


def test_no_text_about_values_has_one() -> None:
    """Neither the value itself nor what is built around it says it when it is printed."""
    own = release(spec__plugin={"configFrom": [source("/a")]})
    placement = Placement(own, own.spec.gateways[0], known(PLANTED))
    write = plan.find_write(placement, istio.wasm_plugin(placement, ARTIFACT), None)
    assert PLANTED in str(istio.wasm_plugin(placement, ARTIFACT)["spec"]), "it stands in the WasmPlugin"
    assert PLANTED not in repr((placement, write))


def test_secrets_are_hidden_in_quotes_and_config_maps_are_not() -> None:
    """Each text and number of a Secret, also as JSON writes it; nothing that is too short to be one."""
    one = plugin(source("/a"), source("/b", kind="ConfigMap"), source("/c", format="YAML"))
    values = known('pass"word', "public", {"user": "alice", "pin": 4711, "on": True, "x": "y"})
    hidden = config_values.list_secrets(one, values)
    assert {'pass"word', 'pass\\"word', "alice", "4711", "user", "pin"} == hidden
    assert config_values.list_secrets(one, None) == frozenset()


def test_an_error_of_another_program_is_quoted_without_values() -> None:
    """The API server and its webhooks may quote what they refuse."""
    error = Refused(providers.ReleaseError("x", "").reason, f"denied: {PLANTED}", f"remove {PLANTED}")  # type: ignore[arg-type]
    hidden = providers.hide_values(error, {PLANTED})
    assert PLANTED not in hidden.sentence()
    assert isinstance(hidden, Refused)


def test_a_number_that_is_not_exact_is_refused_without_the_number() -> None:
    """A check of the configuration also checks the values."""
    own = release(spec__plugin={"configFrom": [source("/a", format="YAML")]})
    with pytest.raises(Refused) as refused:
        providers.check(Placement(own, own.spec.gateways[0], known(2**60)))
    assert refused.value.reason == "NumberNotExact"
    assert str(2**60) not in refused.value.sentence()


def test_higress_is_given_no_placeholder_in_a_value() -> None:
    """Its controller may read every Secret of the cluster, so a value must not name one."""
    changes: JSON = {"spec__provider": "Higress", "spec__plugin": {"priority": 1, "configFrom": [source("/a")]}}
    own = release(**changes)
    with pytest.raises(Refused) as refused:
        providers.check(Placement(own, own.spec.gateways[0], known("${secret.kube-system/admin.token}")))
    assert (refused.value.reason, "admin" in refused.value.sentence()) == ("InvalidConfigValue", False)


def test_an_object_says_where_its_values_are() -> None:
    """Tools hide the values by an annotation; paths in messages end at the configuration."""
    own = release(spec__plugin={"configFrom": [source("/a/b"), source("/a~1b")], "config": {"c": 1}})
    made = istio.wasm_plugin(Placement(own, own.spec.gateways[0], known({"alice": PLANTED}, PLANTED)), ARTIFACT)
    assert made["metadata"]["annotations"][api.CONFIG_FROM_ANNOTATION] == '["/pluginConfig/a/b", "/pluginConfig/a~1b"]'
    shown = config_values.mask(made["spec"], ["/pluginConfig/a/b", "/pluginConfig/a~1b", "/nothing/there"])
    assert shown["pluginConfig"] == {"a": {"b": STAND_IN}, "a/b": STAND_IN, "c": 1}
    changed = {**made, "spec": {**made["spec"], "pluginConfig": {"a": {"b": {"bob": "x"}}}}}
    assert foreign_fields.find(made, changed) == ["spec.pluginConfig"]


# --------------------------------------------------------------------------------------------------------- the form


@pytest.mark.parametrize("path", ["upstream", "/", "/a/", "/a~2", "//a"])
def test_a_path_is_a_pointer_to_a_key(path: str) -> None:
    """Anything else is refused by the schema."""
    with pytest.raises(ValidationError):
        plugin(source(path))


STRUCTURES: list[tuple[str, str | None, Any]] = [
    ("not an object where one is needed", None, ["a"]),
    ("a number that JSON has not", "/a", float("inf")),
    ("nested too deep", "/a", [[[[]]]]),
]


@pytest.mark.parametrize(("reason", "path", "value"), STRUCTURES, ids=[row[0] for row in STRUCTURES])
def test_a_structure_must_fit(reason: str, path: str | None, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What JSON cannot carry, or what has no place, is refused without the value."""
    monkeypatch.setattr(config_values, "MAX_DEPTH", 3)
    place = Place("plugin.configFrom[0]", api.ConfigSource.model_validate(source(path)))
    with pytest.raises(Refused) as refused:
        config_values.check_structure(place, value)
    assert refused.value.reason == "InvalidConfigValue"


def test_values_have_a_limit_together() -> None:
    """They are stored twice, so all together have a limit."""
    config_values.check_size([config_values.MAX_BYTES])
    with pytest.raises(Refused) as refused:
        config_values.check_size([config_values.MAX_BYTES, 1])
    assert refused.value.reason == "ConfigTooLarge"


# ------------------------------------------------------------------------------------------------- when it is read

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ROLLOUT = {"specHash": "", "startedAt": "2026-11-30T11:00:00Z", "configDigest": "d" * 32}
FAILURE = {
    "revision": "0123456789",
    "gateways": ["public"],
    "reason": "PluginRejected",
    "message": "",
    "at": "2026-11-30T11:30:00Z",
}
FROM: JSON = {"spec__plugin": {"configFrom": [source("/a")]}}
ORDER: list[tuple[str, JSON, JSON, list[str]]] = [
    ("before objects are compared", FROM, {}, ["AskConsent", "FollowConfig", "ReadCarriers"]),
    ("nothing to read", {}, {}, ["AskConsent", "ReadCarriers"]),
    ("after the rollback", FROM, {"failure": FAILURE}, ["RollBack", "FollowConfig", "ObserveFallback"]),
    ("an old revision is asked for", FROM, {"rollbackTo": "0123456789"}, ["AskConsent", "ReadCarriers"]),
    ("the release is left alone", {**FROM, "spec__suspend": True}, {}, ["Suspend"]),
]


@pytest.mark.parametrize(("reason", "changes", "rollout", "done"), ORDER, ids=[row[0] for row in ORDER])
def test_the_way_back_waits_for_no_value(reason: str, changes: JSON, rollout: JSON, done: list[str]) -> None:
    """Values are read once a pass, after what failed was put back and before anything new is compared."""
    own = release(**changes)
    begun = {**ROLLOUT, "specHash": revision.spec_hash(own.spec), **rollout}
    status = {"rollout": begun, "handled": {}, "gateways": []}
    own = own.model_copy(update={"status": api.Status.model_validate(status)})
    known, taken = facts.begin(own, NOW), list[str]()
    while not isinstance(action := next_action(known, NOW), Wait):
        taken.append(type(action).__name__)
        known = known.after(action)
    wanted = [name for name in taken if name in {*done, "FollowConfig", "ReadCarriers"}]
    assert wanted == [name for name in done if name in taken]
    assert taken.count("FollowConfig") == done.count("FollowConfig")
