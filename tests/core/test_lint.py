"""lint: the API server's judgement without one. The table of tests/edges/crd_rules.py, which a real server confirms
there, is judged here, and has to end with the same words."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from pluginrelease import api
from pluginrelease.cli import main
from pluginrelease.core.errors import Refused
from pluginrelease.core.offline import manifest, schema
from pluginrelease.edges import cel
from tests.edges.crd_objects import CrdRule, cel_messages, release
from tests.edges.crd_rules import MORE_REFUSED, REF, RULES


def counts(output: str) -> list[int]:
    """PluginReleases, other objects and findings, as the last line has them."""
    return [int(number) for number in re.findall(r"\d+", output.strip().splitlines()[-1])]


def said(document: dict[str, Any]) -> str:
    faults = manifest.find_faults(document, cel.matches, cel.find_violation)
    return "\n".join(f"{fault.place}: {fault.message}" for fault in faults)


MESSAGES = cel_messages()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.path}-{rule.keyword}")
def test_a_rule_accepts_and_refuses(rule: CrdRule) -> None:
    """What the API server takes is taken, what it refuses is refused, with its words."""
    path = rule.path.removesuffix("{}")
    assert said(release(path, rule.accepted)) == ""
    assert (rule.words or MESSAGES[rule.path, rule.keyword]) in said(release(path, rule.refused))


@pytest.mark.parametrize(("path", "value", "words"), MORE_REFUSED, ids=lambda it: str(it)[:40])
def test_more_is_refused(path: str, value: object, words: str) -> None:
    """The same rules see the other ways to break them."""
    assert MESSAGES.get((path, words), words) in said(release(path, value))


# tests/edges/test_lint.py shows the same to a real API server
REFUSED: list[tuple[str, object, str]] = [
    ("spec.plugin.prioritty", 1, 'unknown field "spec.plugin.prioritty"'),
    ("spec.checks.probes[].expects", {}, 'unknown field "spec.checks.probes[0].expects"'),
    ("status.phasee", "Ready", 'unknown field "status.phasee"'),
    ("metadata.lables", {}, 'unknown field "metadata.lables"'),
    ("metadata.name", "Auth", "RFC 1123 subdomain"),
    ("metadata.labels", {"a b": "c"}, "a b"),
    ("metadata.labels", {"a": "-"}, "metadata.labels"),
    ("metadata.annotations", {"a": 1}, 'string: "integer"'),
    ("spec.artifact.image.ref", None, "spec.artifact.image.ref: Required value"),
    ("spec.checks.probes", [None], 'object: "null"'),
    ("metadata.creationTimestamp", "today", "should match"),
    ("metadata.ownerReferences", [{}], "metadata.ownerReferences[0].uid: Required value"),
    ("spec.plugin.priority", 1.5, 'integer: "number"'),
    ("spec.plugin.priority", True, 'integer: "boolean"'),
    ("apiVersion", "pluginrelease.io/v9", "supported values"),
    ("kind", "Pluginrelease", 'supported values: "PluginRelease"'),
]
TAKEN: list[tuple[str, object]] = [
    ("spec.plugin.failStrategy", None),
    ("spec.artifact.image.pullSecretRef", None),
    ("spec.checks.probes[].headers", {"allow": None}),
    ("metadata.labels", {"team": None}),
    ("spec.plugin.priority", 2.0),
    ("spec.plugin.config", {"any": [{"thing": None}]}),
    ("status.phase", "Ready"),
    ("metadata.annotations", {"pluginrelease.io/retry": "1"}),
]


@pytest.mark.parametrize(("path", "value", "words"), REFUSED)
def test_what_strict_decoding_refuses(path: str, value: object, words: str) -> None:
    """As with kubectl --validate=strict: fields that there are none of, and what Kubernetes asks of any object."""
    assert words in said(release(path, value))


@pytest.mark.parametrize(("path", "value"), TAKEN)
def test_what_is_taken(path: str, value: object) -> None:
    """A null is as good as nothing, 2.0 is a whole number, a configuration is free, a new object has no status. A real
    API server was seen to take the same."""
    assert said(release(path, value)) == ""


# --- the command ---


def lint(*words: str) -> Result:
    return CliRunner().invoke(main, ["lint", *words])


def write(folder: Path, *documents: object) -> str:
    file = folder / "release.yaml"
    file.write_text(
        "---\n".join(document if isinstance(document, str) else yaml.safe_dump(document) for document in documents)
    )
    return str(file)


def test_a_good_file(tmp_path: Path) -> None:
    """Code 0; objects of other kinds are counted and left out."""
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    ended = lint(write(tmp_path, other, release(), "", {"kind": api.KIND, "apiVersion": "else.io/v1"}))
    assert (ended.exit_code, counts(ended.stdout)) == (0, [1, 2, 0])


def test_a_finding_has_its_line(tmp_path: Path) -> None:
    """The report reads as a compiler's: file, line, release, field, what is wrong."""
    text = yaml.safe_dump(release(REF, "oci://a/b:1"), sort_keys=False)
    line = 1 + next(number for number, one in enumerate(text.splitlines()) if "oci://" in one)
    file = write(tmp_path, text)
    ended = lint(file)
    assert ended.exit_code == 1
    assert f"{file}:{line}: crd-rules/auth: {REF}: " in ended.stdout
    [told] = json.loads(lint(file, "-o", "json").stdout)
    assert (told["ok"], told["releases"], told["skipped"]) == (False, 1, 0)
    [finding] = told["findings"]
    assert (finding["line"], finding["path"], finding["reason"]) == (line, REF, "InvalidManifest")


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        ({"config": {"a": "${secret.x/y.z}"}}, None),
        ({"config": {"a": "${secret.x}"}}, "InvalidPlaceholder"),
        ({"config": {"_rules_": []}}, "ReservedKey"),
        ({"config": {"a": 2**60}}, "NumberNotExact"),
        ({"matchRules": [{"ingress": ["higress-system/shop"]}]}, "RuleNeverMatches"),
    ],
)
def test_what_only_the_operator_refuses(tmp_path: Path, plugin: dict[str, Any], reason: str | None) -> None:
    """A configuration that the API server takes and the operator would refuse is a finding, in the same words."""
    whole = release("spec.plugin", {"priority": 1, **plugin})
    whole["spec"] |= {"provider": "Higress", "gateways": [{"name": "main", "namespace": "higress-system"}]}
    del whole["metadata"]["namespace"]
    told = lint(write(tmp_path, whole), "-o", "json")
    found = [finding["reason"] for finding in json.loads(told.stdout)[0]["findings"]]
    assert (found, told.exit_code) == (([reason], 1) if reason else ([], 0))


def two_gateways(*changes: dict[str, Any]) -> dict[str, Any]:
    """A release with an entry for each of these changes to one whole entry."""
    entry = {"name": "public", "namespace": "istio-ingress", "selector": {"matchLabels": {"istio": "ingressgateway"}}}
    whole = release()
    whole["spec"] |= {"provider": "Istio", "gateways": [{**entry, **change} for change in changes]}
    return whole


OTHER_PODS = {"name": "internal", "selector": {"matchLabels": {"app": "edge"}}}


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        pytest.param(({}, OTHER_PODS), None, id="an object each"),
        pytest.param(
            ({}, {**OTHER_PODS, "objectName": "auth-public"}), "spec.gateways[1]", id="another's default name"
        ),
        pytest.param(({"objectName": "auth-internal"}, OTHER_PODS), "spec.gateways[1]", id="the other way round"),
        pytest.param(({}, {**OTHER_PODS, "namespace": "edge", "objectName": "auth-public"}), None, id="elsewhere"),
        pytest.param(({"objectName": "guard", "adopt": True}, OTHER_PODS), None, id="one is taken over"),
    ],
)
def test_no_two_gateways_write_one_object(
    tmp_path: Path, changes: tuple[dict[str, Any], ...], path: str | None
) -> None:
    """An object name can be the default name of another entry: the API server cannot see that, and lint does."""
    whole = two_gateways(*changes)
    whole["metadata"]["namespace"] = "istio-ingress"
    told = lint(write(tmp_path, whole), "-o", "json")
    findings = json.loads(told.stdout)[0]["findings"]
    assert [(found["path"], found["reason"]) for found in findings] == ([(path, "InvalidManifest")] if path else [])


def test_rules_see_names_that_are_words_of_cel(tmp_path: Path) -> None:
    """`namespace` is a reserved word of CEL: a rule about it judges here as on the server, by its escaped name."""
    told = lint(write(tmp_path, two_gateways({}, {"name": "internal"})), "-o", "json")
    [finding] = json.loads(told.stdout)[0]["findings"]
    assert finding["path"] == "spec.gateways"
    assert MESSAGES["spec.gateways", "cel 0"] in finding["message"]


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("namespace", "__namespace__"),
        ("matchLabels", "matchLabels"),
        ("a-b", "a__dash__b"),
        ("a.b/c", "a__dot__b__slash__c"),
        ("a__b", "a__underscores__b"),
    ],
)
def test_names_are_escaped_as_on_the_server(name: str, escaped: str) -> None:
    """Reserved words, and what no identifier has, are written as Kubernetes writes them."""
    assert schema.escape_name(name) == escaped


def test_what_all_gateways_refuse_is_told_once(tmp_path: Path) -> None:
    """A configuration that no gateway would be given as it is written is one finding, however many there are."""
    whole = two_gateways({}, OTHER_PODS)
    whole["spec"]["plugin"] = {"config": {"a": 2**60}}
    told = lint(write(tmp_path, whole), "-o", "json")
    assert [found["reason"] for found in json.loads(told.stdout)[0]["findings"]] == ["NumberNotExact"]


def test_each_gateway_is_judged_by_itself(tmp_path: Path) -> None:
    """A rule that means nothing in one entry's namespace is a finding, also where that entry is not the first."""
    whole = release("spec.plugin", {"priority": 1, "matchRules": [{"ingress": ["higress-two/shop"]}]})
    gateways = [{"name": "one", "namespace": "higress-one"}, {"name": "two", "namespace": "higress-two"}]
    whole["spec"] |= {"provider": "Higress", "gateways": gateways}
    told = lint(write(tmp_path, whole), "-o", "json")
    assert [found["reason"] for found in json.loads(told.stdout)[0]["findings"]] == ["RuleNeverMatches"]


def test_lists_and_json(tmp_path: Path) -> None:
    """A List, as kubectl get writes it, and JSON are read, too."""
    file = tmp_path / "all.json"
    whole = {"apiVersion": "v1", "kind": "List", "items": [release(), release("spec.plugin.x", 1)]}
    file.write_text(json.dumps(whole))
    ended = lint(str(file))
    assert ended.exit_code == 1
    assert counts(ended.stdout) == [2, 0, 1]


def test_letters_that_json_spells_in_two_halves(tmp_path: Path) -> None:
    """One is one, as the API server counts: 256 fit into 256."""
    file = tmp_path / "release.json"
    for number, code in ((256, 0), (257, 1)):
        file.write_text(json.dumps(release("spec.plugin.name", "\N{GRINNING FACE}" * number)))
        assert lint(str(file)).exit_code == code


def test_a_misspelt_kind_is_not_left_out(tmp_path: Path) -> None:
    """What is of our group and of no kind in it is a mistake, not somebody else's object."""
    ended = lint(write(tmp_path, release("kind", "PluginReleases")))
    assert ended.exit_code == 1
    assert counts(ended.stdout)[:2] == [1, 0]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("name: auth\n", "name: auth\n  name: other\n", '"metadata.name"'),
        ("name: auth\n", "name: 2026-01-01\n", ""),
        ("istio: ingressgateway", "istio: 12:30", ""),
        ("istio: ingressgateway", "istio: 1e3", 'string: "integer"'),
        ("istio: ingressgateway", "istio: yes", 'string: "boolean"'),
        ("istio: ingressgateway", "istio: y", 'string: "boolean"'),
        ("istio: ingressgateway", "istio: 0o17", 'string: "integer"'),
        ("istio: ingressgateway", "istio: <<", ""),
        ("istio: ingressgateway", "1: a", ""),
        ("istio: ingressgateway", "null: a", "null"),
        ("kind: PluginRelease", "kind: PluginRelease\n\tx: 1", "YAML"),
        ("kind: PluginRelease", "kind: PluginRelease\nbomb: &a [*a]", "YAML"),
    ],
)
def test_yaml_as_kubectl_reads_it(tmp_path: Path, old: str, new: str, words: str) -> None:
    """What looks like a date or a time is text, a key twice is a fault, and so is what refers to itself."""
    text = yaml.safe_dump(release())
    assert old in text
    ended = lint(write(tmp_path, text.replace(old, new)))
    assert words in ended.stdout
    assert ended.exit_code == (1 if words else 0), ended.stdout


def test_a_file_that_grows_when_it_is_read(tmp_path: Path) -> None:
    """Aliases of aliases are not followed without end."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    ended = lint(write(tmp_path, "\n".join(lines)))
    assert ended.exit_code == 1
    assert "more than" in ended.stdout


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """Code 2, unless another file is refused."""
    assert lint(str(tmp_path / "absent.yaml")).exit_code == 2
    bad = write(tmp_path, release("spec.plugin.x", 1))
    assert lint(str(tmp_path / "absent.yaml"), bad).exit_code == 1


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without CEL nothing is called well: code 2, and what to install."""
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    cel._compile.cache_clear()
    try:
        ended = lint(write(tmp_path, release()))
    finally:
        cel._compile.cache_clear()
    assert ended.exit_code == 2
    assert "requirements/lint.txt" in ended.stdout
    with pytest.raises(Refused) as refused:
        cel.matches("a", "a")
    assert refused.value.reason == "CelMissing"


def test_the_examples() -> None:
    """Every manifest that the project shows passes."""
    checkout = Path(__file__).resolve().parents[2]
    files = [str(file) for file in sorted(checkout.glob("examples/**/*.yaml"))]
    ended = lint(*files)
    assert ended.exit_code == 0, ended.stdout
