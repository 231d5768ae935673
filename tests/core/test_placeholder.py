"""Placeholders for Secrets' values: which Higress understands, what they stand for, and that nobody reads a value."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from pluginrelease.core import compat, placeholders
from pluginrelease.core.errors import Refused
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.logs import LogEvent, LogFindings, LogKind
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.gateway.verdict.values import State
from pluginrelease.core.mesh import higress, istio
from pluginrelease.core.mesh.placement import Placement
from tests.core import gateway_signs
from tests.harness.releases import placement

JSON = dict[str, Any]
TOKEN = "${secret.team-a/keys.token}"
OTHER = "${secret.team-a/keys.other}"
SHORT = "${secret.keys.token}"
NEWEST = compat.higress("gateway:2.2.4", None)


def entry(namespace: str = "higress-system", **plugin: Any) -> Placement:
    return placement(
        metadata__namespace=namespace,
        spec__provider="Higress",
        spec__gateways=[{"name": "all", "namespace": "higress-system"}],
        spec__plugin={"priority": 1, **plugin},
    )


# ------------------------------------------------------------------------------------------------------- comparing


class Compared(NamedTuple):
    """What is wanted, what a gateway was given, and what stands there, None where it is something else."""

    reason: str
    wanted: Any
    given: Any
    values: set[str] | None


COMPARED = [
    Compared("a whole text", {"a": TOKEN}, {"a": "s3cret"}, {"s3cret"}),
    Compared("within a longer one", {"a": f"Bearer {TOKEN}!"}, {"a": "Bearer s3cret!"}, {"Bearer s3cret!", "s3cret"}),
    Compared("without a namespace", {"a": SHORT}, {"a": "s3cret"}, {"s3cret"}),
    Compared("two in one text", {"a": f"{TOKEN}:{OTHER}"}, {"a": "me:you"}, {"me:you", "me", "you"}),
    Compared("two side by side", {"a": f"{TOKEN}{OTHER}"}, {"a": "meyou"}, {"meyou"}),
    Compared("an empty value", {"a": f"x{TOKEN}"}, {"a": "x"}, set()),
    Compared("deep inside", {"a": [{"b": TOKEN}, 1]}, {"a": [{"b": "s3cret"}, 1.0]}, {"s3cret"}),
    Compared("a key", {TOKEN: {"who": "me"}, "a": 1}, {"s3cret": {"who": "me"}, "a": 1}, {"s3cret"}),
    Compared("two keys", {TOKEN: 1, OTHER: 2}, {"x1": 2, "x2": 1}, {"x1", "x2"}),
    Compared(
        "a key that another one would fit, too",
        {TOKEN: 1, f"Bearer {OTHER}": 1},
        {"Bearer x1": 1, "x2": 1},
        {"x1", "x2", "Bearer x1"},
    ),
    Compared("the text around it differs", {"a": f"Bearer {TOKEN}"}, {"a": "Basic s3cret"}, None),
    Compared("its end differs", {"a": f"{TOKEN}-x"}, {"a": "s3cret-y"}, None),
    Compared("its middle differs", {"a": f"{TOKEN}-{OTHER}"}, {"a": "s3cret"}, None),
    Compared("too short for the text around it", {"a": f"aa{TOKEN}aa"}, {"a": "aaa"}, None),
    Compared("it was not replaced", {"a": TOKEN}, {"a": TOKEN}, None),
    Compared("one of two was not replaced", {"a": f"{TOKEN} {OTHER}"}, {"a": f"me {OTHER}"}, None),
    Compared("no text at all", {"a": TOKEN}, {"a": 7}, None),
    Compared("a key more", {"a": TOKEN}, {"a": "s3cret", "admin": True}, None),
    Compared("a key less", {"a": TOKEN, "b": 1}, {"a": "s3cret"}, None),
    Compared("another key", {TOKEN: 1}, {"s3cret": 2}, None),
    Compared("what has none is compared word for word", {"a": "${HOSTNAME}"}, {"a": "x"}, None),
    Compared("a text that is no placeholder stays", {"a": "${HOSTNAME}", "b": 1}, {"a": "${HOSTNAME}", "b": 1}, set()),
    Compared("true is not 1", {"a": True}, {"a": 1}, None),
]


@pytest.mark.parametrize("case", COMPARED, ids=lambda case: case.reason)
def test_a_placeholder_stands_for_any_text_but_itself(case: Compared) -> None:
    """All around it must be the same, and what stands in its place is known, so that it can be hidden."""
    assert placeholders.is_same(case.wanted, case.given, replaced=True) is (case.values is not None)
    found = set(placeholders.read_values(case.wanted, case.given))
    assert case.values is None or case.values <= found


def test_what_is_not_replaced_is_compared_as_text() -> None:
    """To Istio a placeholder is a text like any other."""
    assert placeholders.is_same({"a": TOKEN}, {"a": TOKEN})
    assert not placeholders.is_same({"a": TOKEN}, {"a": "s3cret"})
    wanted = DesiredPlugin("ns", "n", "0" * 64, {"a": TOKEN}, "FAIL_CLOSE", {"E": SHORT, "H": None})
    assert wanted.is_given({"a": TOKEN}, {"E": SHORT, "H": None})
    assert replace(wanted, replaces=True).is_given({"a": "x"}, {"E": "y", "H": None})
    assert not replace(wanted, replaces=True).is_given({"a": "x"}, {"E": "y", "H": "z"})


def test_a_placeholder_that_stays_text_is_told() -> None:
    """Right code with the placeholder itself as its configuration: the control plane has replaced nothing."""
    wanted = DesiredPlugin("apps", "header", gateway_signs.NEW, {"a": TOKEN}, "FAIL_CLOSE", replaces=True)
    seen = replace(gateway_signs.QUIET, entries=gateway_signs.entry(config={"a": TOKEN}))
    found = judging.judge(wanted, [seen], **gateway_signs.GIVEN)
    assert (found.state, found.reason) == (State.PENDING, "PlaceholderNotReplaced")


def test_many_placeholders_cost_no_more_than_their_text() -> None:
    """A release cannot keep the operator busy with them."""
    wanted, given = TOKEN * 2000 + "!", "a" * 200_000
    began = time.process_time()
    assert not placeholders.is_same({"a": wanted}, {"a": given}, replaced=True)
    for hostile in ("${" * 200_000, "${a." * 100_000, "${a.b." * 100_000, "${secret." * 50_000):
        placeholders.find_unsupported(hostile)
    assert time.process_time() - began < 5


# ---------------------------------------------------------------------------------------------------------- hiding


def test_no_value_is_read_in_what_a_gateway_says() -> None:
    """Events, causes and the plugin's last words are quoted without it, also where one value is part of another."""
    event = LogEvent(None, LogKind.REJECTED, "bad token s3cret-long", ("tried s3cret",))
    found = placeholders.hide_in(LogFindings((event,)), {"s3cret", "s3cret-long", ""})
    assert found.events[0].line == "bad token ${secret…}"
    assert found.events[0].causes == ("tried ${secret…}",)
    assert found.events[0].kind is LogKind.REJECTED, "what was read stays what it is"
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert placeholders.hide_in((replace(event, at=at), 1.5, None), {"x"}) == (replace(event, at=at), 1.5, None)


# --------------------------------------------------------------------------------------------- refused before a write


class WrittenSecret(NamedTuple):
    """A plugin, the Higress that is to run it, and why it is refused; None: it is not."""

    reason: str
    plugin: JSON
    hosts: tuple[compat.Host, ...]
    words: str | None


WRITTEN = [
    WrittenSecret("none", {"config": {"a": 1}}, (NEWEST,), None),
    WrittenSecret("a good one", {"config": {"a": TOKEN}}, (NEWEST,), None),
    WrittenSecret("of an unknown version", {"config": {"a": TOKEN}}, (compat.higress("", None),), None),
    WrittenSecret("without gateways", {"config": {"a": TOKEN}}, (), None),
    WrittenSecret("in a rule", {"matchRules": [{"domain": ["a"], "config": {"a": TOKEN}}]}, (NEWEST,), None),
    WrittenSecret("in the environment", {"env": [{"name": "A", "value": TOKEN}]}, (NEWEST,), None),
    WrittenSecret("other placeholders stay text", {"config": {"a": "${request.header.host}"}}, (NEWEST,), None),
    WrittenSecret("too few parts", {"config": {"a": "${secret.keys}"}}, (NEWEST,), "plugin.config.a has ${secret.…"),
    WrittenSecret("not closed", {"config": {"a": "${secret.keys.token"}}, (NEWEST,), "plugin.config.a has"),
    WrittenSecret("a name in upper case", {"config": {"a": "${secret.Keys.token}"}}, (NEWEST,), "plugin.config.a has"),
    WrittenSecret("a slash in the key", {"config": {"a": "${secret.a/b.c/d}"}}, (NEWEST,), "plugin.config.a has"),
    WrittenSecret("in a key", {"config": {"${secret.x}": 1}}, (NEWEST,), "plugin.config (a key of it) has"),
    WrittenSecret(
        "another one beside it keeps all as text",
        {"config": {"a": TOKEN, "b": "${request.header.host}"}},
        (NEWEST,),
        "and ${request.header.host} is there too",
    ),
    WrittenSecret(
        "one that is not closed reaches to the end",
        {"config": {"a": TOKEN, "b": "${a.b.c"}},
        (NEWEST,),
        "is there too",
    ),
    WrittenSecret(
        "before 2.1", {"config": {"a": TOKEN}}, (compat.higress("gateway:2.0.7", None),), "Higress 2.0.7 does not"
    ),
    WrittenSecret(
        "2.1 reads the long form", {"config": {"a": TOKEN, "b": "c/d"}}, (compat.higress("g:2.1.11", None),), None
    ),
    WrittenSecret("and the short one at the end", {"config": {"a": SHORT}}, (compat.higress("g:2.1.11", None),), None),
    WrittenSecret(
        "and not before a slash",
        {"config": {"a": SHORT, "b": "c/d"}},
        (compat.higress("g:2.2.0", None),),
        "Higress 2.2.0, as all before 2.2.1,",
    ),
    WrittenSecret("2.2.1 does", {"config": {"a": SHORT, "b": "c/d"}}, (compat.higress("g:2.2.1", None),), None),
]


@pytest.mark.parametrize("case", WRITTEN, ids=lambda case: case.reason)
def test_what_higress_would_leave_as_text(case: WrittenSecret) -> None:
    """It is refused before anything is written, with the field and the placeholder."""
    if case.words is None:
        higress.check(entry(**case.plugin), case.hosts)
        return
    with pytest.raises(Refused) as refused:
        higress.check(entry(**case.plugin), case.hosts)
    assert refused.value.reason == "InvalidPlaceholder"
    assert case.words in refused.value.message


@pytest.mark.parametrize(
    ("namespace", "text", "allowed", "reason"),
    [
        ("higress-system", TOKEN, True, "who writes in Higress's own namespace may do as Higress does"),
        ("team-a", TOKEN, True, "its own Secret"),
        ("team-b", TOKEN, False, "another team's"),
        ("team-b", SHORT, False, "Higress's own"),
    ],
)
def test_whose_secrets_a_release_may_name(namespace: str, text: str, allowed: bool, reason: str) -> None:
    """Higress's controller reads every namespace; a release of another namespace may have it read its own only."""
    one = entry(namespace, config={"a": text})
    if allowed:
        higress.check(one, (NEWEST,))
        return
    with pytest.raises(Refused) as refused:
        higress.check(one, (NEWEST,))
    assert refused.value.reason == "InvalidPlaceholder", reason
    assert f"secret.{namespace}/" in refused.value.remedy


def test_which_secrets_are_looked_for() -> None:
    """One without a namespace is of Higress's; Istio replaces nothing, so nothing is looked for."""
    one = entry(config={"a": SHORT, "b": [TOKEN]}, env=[{"name": "A", "value": "${secret.x/y.z.crt}"}])
    found = [(it.path, it.namespace, it.name, it.key) for it in higress.find_placeholders(one)]
    assert found == [
        ("plugin.config.a", "higress-system", "keys", "token"),
        ("plugin.config.b[0]", "team-a", "keys", "token"),
        ("plugin.env[0].value", "x", "y", "z.crt"),
    ]
    assert istio.find_placeholders(one) == ()


@pytest.mark.parametrize(
    ("value", "good", "reason"),
    [
        (b"s3cret", True, "a word"),
        (b"", True, "nothing"),
        ("pässwörd😀 {a: 1}, <&>".encode(), True, "what JSON takes as it is"),
        (b'x","admin":true,"y":"z', False, "it would get into the configuration as keys"),
        (b"a\nb", False, "the JSON would break"),
        (b"a\n", False, "a file's last line break"),
        (b"a\\b", False, "it would become a backspace"),
        (b"\xff", False, "no text"),
        (b"${secret.a.b}", False, "it would be looked up in its turn"),
    ],
)
def test_what_a_value_may_be(value: bytes, good: bool, reason: str) -> None:
    """Only what stands for itself in a text of JSON; a refusal never has the value."""
    [one] = higress.find_placeholders(entry(config={"a": TOKEN}))
    if good:
        placeholders.check_value(one, value)
        return
    with pytest.raises(Refused) as refused:
        placeholders.check_value(one, value)
    assert refused.value.reason == "InvalidPlaceholder", reason
    assert "admin" not in refused.value.sentence()
