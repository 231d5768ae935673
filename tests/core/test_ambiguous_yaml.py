"""What readers of YAML take for different things. The readings are those of the tools' own libraries: go-yaml 2 behind
sigs.k8s.io/yaml 1.6.0 (kubectl, Helm, Argo CD) and go-yaml 3 behind kyaml 0.21.1 (Kustomize, Flux)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from pluginrelease.cli import main
from pluginrelease.core.offline import manifest, schema
from pluginrelease.edges import documents
from tests.edges.crd_objects import release

# a value as it is written; what kubectl reads; what Flux reads; whether other readers differ
VALUES: list[tuple[str, object, object, bool]] = [
    ("n", False, "n", True),
    ("Y", True, "Y", True),
    ("yes", True, "yes", True),
    ("NO", False, "NO", True),
    ("on", True, "on", True),
    ("Off", False, "Off", True),
    ("2026-11-30", "2026-11-30", "2026-11-30T00:00:00Z", True),
    ("010", 8, 8, True),
    ("0755", 493, 493, True),
    ("08", 8, 8, True),
    ("0o17", 15, 15, True),
    ("0b11", 3, 3, True),
    ("1_000", 1000, 1000, True),
    ("1e3", 1000.0, 1000, True),
    ("12e7", 120000000.0, 120000000, True),
    ("22:22", "22:22", "22:22", True),
    ("190:20:30", "190:20:30", "190:20:30", True),
    ("true", True, True, False),
    ("False", False, False, False),
    ("null", None, None, False),
    ("8", 8, 8, False),
    ("0", 0, 0, False),
    ("-1.5", -1.5, -1.5, False),
    ("0x1F", 31, 31, False),
    ("8080:80", "8080:80", "8080:80", False),
    ("v1.10", "v1.10", "v1.10", False),
    ("once", "once", "once", False),
    ("10.0.0.1", "10.0.0.1", "10.0.0.1", False),
    ("2001:db8::1", "2001:db8::1", "2001:db8::1", False),
]
# a key as it is written; what kubectl reads; what Flux reads, if it can
KEYS: list[tuple[str, str, str | None]] = [
    ("n", "false", "n"),
    ("y", "true", "y"),
    ("on", "true", "on"),
    ("True", "true", None),
    ("true", "true", None),
    ("010", "8", None),
    ("0x1F", "31", None),
    ("1.0", "1", None),
    ("12e7", "1.2e+08", None),
    ("1.5", "1.5", None),
    ("404", "404", None),
    ("2026-11-30", "2026-11-30", None),
    ("name", "name", "name"),
    ("v1", "v1", "v1"),
]


def read(line: str) -> tuple[Any, list[documents.Ambiguity]]:
    """The value of one document, and what is ambiguous in it."""
    [document] = documents.read(line)
    return document.value, [found for _, found in document.ambiguous]


@pytest.mark.parametrize(("text", "kubectl", "flux", "differs"), VALUES, ids=lambda it: str(it)[:12])
def test_a_value(text: str, kubectl: object, flux: object, differs: bool) -> None:
    """A value is ambiguous if readers differ, and a finding if already kubectl and Flux do; quotes end it."""
    value, found = read(f"a: {text}")
    assert value["a"] == kubectl
    assert isinstance(value["a"], bool) is isinstance(kubectl, bool)
    assert bool(found) is differs
    assert [it.between_deployers for it in found] == ([kubectl != flux] if differs else [])
    assert read(f'a: "{text}"') == ({"a": text}, [])


@pytest.mark.parametrize(("text", "kubectl", "flux"), KEYS, ids=lambda it: str(it)[:12])
def test_a_key(text: str, kubectl: str, flux: str | None) -> None:
    """A key is a finding if Flux reads another text than kubectl, or cannot read it at all; quotes end it."""
    value, found = read(f"{text}: a")
    assert value == {kubectl: "a"}
    assert [it.between_deployers for it in found] == ([True] if kubectl != flux else [])
    assert read(f"'{text}': a") == ({text: "a"}, [])


def test_a_tag_is_as_good_as_quotes() -> None:
    """`!!str on` is a text to every reader."""
    assert read("a: !!str on") == ({"a": "on"}, [])


def lint(folder: Path, text: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and what is said of the one file."""
    file = folder / "release.yaml"
    file.write_text(text)
    ended = CliRunner().invoke(main, ["lint", str(file), "-o", "json"])
    return ended.exit_code, json.loads(ended.stdout)[0]


def higress() -> str:
    """A release that may have rules, and ends with its spec."""
    whole = release()
    del whole["metadata"]["namespace"]
    whole["spec"] |= {"provider": "Higress", "gateways": [{"name": "main", "namespace": "higress-system"}]}
    return yaml.safe_dump(whole, sort_keys=False)


CONFIG = """\
  plugin:
    priority: 1
    config:
      hours: {on: 8}
      days: [mo, no]
      mode: 0755
    matchRules:
    - domain: [a.example.com]
      config:
        enabled: yes
"""


def test_lint_names_line_and_path(tmp_path: Path) -> None:
    """Wherever a configuration may stand: the line, the path and the reason; what only others misread is a warning."""
    text = higress() + CONFIG
    code, told = lint(tmp_path, text)
    at = {line.strip(): number for number, line in enumerate(text.splitlines(), 1)}
    assert code == 1
    assert [(it["line"], it["path"], it["reason"]) for it in told["findings"]] == [
        (at["hours: {on: 8}"], "spec.plugin.config.hours.true", "AmbiguousYaml"),
        (at["days: [mo, no]"], "spec.plugin.config.days[1]", "AmbiguousYaml"),
        (at["enabled: yes"], "spec.plugin.matchRules[0].config.enabled", "AmbiguousYaml"),
    ]
    assert [(it["line"], it["path"]) for it in told["warnings"]] == [(at["mode: 0755"], "spec.plugin.config.mode")]


def test_a_warning_alone_is_no_refusal(tmp_path: Path) -> None:
    """kubectl, Helm, Argo CD and Flux all read 0755 as 493: the pipeline continues."""
    text = higress() + "  plugin: {priority: 1, config: {mode: 0755}}\n"
    code, told = lint(tmp_path, text)
    assert (code, told["findings"], [it["reason"] for it in told["warnings"]]) == (0, [], ["AmbiguousYaml"])


def test_in_a_list_of_objects(tmp_path: Path) -> None:
    """The path is that of the object, not of the List around it."""
    body = "  " + higress().replace("\n", "\n  ").rstrip()
    text = f"apiVersion: v1\nkind: List\nitems:\n-{body[1:]}\n    plugin: {{priority: 1, config: {{n: 1}}}}\n"
    code, told = lint(tmp_path, text)
    assert (code, [it["path"] for it in told["findings"]]) == (1, ["spec.plugin.config.false"])


@pytest.mark.parametrize(
    ("path", "is_open"),
    [
        (("spec", "plugin", "config", "a"), True),
        (("spec", "plugin", "matchRules", 0, "config", "a", 1), True),
        (("spec", "plugin", "config"), False),
        (("spec", "plugin", "phase"), False),
        (("metadata", "labels", "a"), False),
        (("spec", "nothing", "a"), False),
    ],
)
def test_where_any_value_is_taken(path: schema.Path, is_open: bool) -> None:
    """Only configurations are free: everywhere else the schema says whether it is a text or a number."""
    assert schema.is_open(manifest.object_schema(), path) is is_open
