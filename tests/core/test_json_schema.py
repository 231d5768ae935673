"""The JSON Schema for editors: it says of a manifest what the API server's schema says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pluginrelease import api
from pluginrelease.cli import crd
from pluginrelease.core.offline import json_schema
from tests.core.test_lint import REFUSED, TAKEN
from tests.edges.crd_objects import release
from tests.edges.crd_rules import RULES

CHECKOUT = Path(__file__).resolve().parents[2]
SCHEMA = json_schema.render()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
MODELINE = "# yaml-language-server: $schema="
# what the server, too, judges by other means than a schema: names and label values, and two entries of one name
BEYOND = {"metadata.name", "metadata.labels", "metadata.annotations[a b]", "status.phasee"}


def faults(document: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(document)]


def examples() -> list[Path]:
    """The files with PluginReleases and nothing else."""
    found = []
    for file in sorted(CHECKOUT.glob("examples/**/*.yaml")):
        documents = [it for it in yaml.safe_load_all(file.read_text()) if it]
        if all(isinstance(it, dict) and it.get("kind") == api.KIND and "spec" in it for it in documents):
            found.append(file)
    return found


def test_the_file_is_what_the_models_say() -> None:
    """crds/ has the bytes that `make crds` writes."""
    assert (CHECKOUT / crd.SCHEMA).read_text(encoding="utf-8") == crd.schema_text(), "run `make crds`"
    jsonschema.Draft7Validator.check_schema(json.loads(crd.schema_text()))


@pytest.mark.parametrize("file", examples(), ids=lambda file: str(file.relative_to(CHECKOUT)))
def test_an_example_fits_and_names_its_schema(file: Path) -> None:
    """An editor with the YAML language server finds the schema by the first line, and has nothing to say."""
    text = file.read_text(encoding="utf-8")
    first = text.partition("\n")[0]
    assert first.startswith(MODELINE)
    assert (file.parent / first.removeprefix(MODELINE)).resolve() == CHECKOUT / crd.SCHEMA
    assert [fault for document in yaml.safe_load_all(text) for fault in faults(document)] == []


@pytest.mark.parametrize("rule", [it for it in RULES if not it.keyword.startswith("cel")], ids=lambda it: it.path)
def test_a_rule_of_the_schema_accepts_and_refuses(rule: Any) -> None:
    """What the API server's schema refuses, the editor underlines, and nothing else."""
    path = rule.path.removesuffix("{}")
    assert faults(release(path, rule.accepted)) == []
    assert faults(release(path, rule.refused)) != [] or rule.keyword.startswith("x-kubernetes")


@pytest.mark.parametrize(("path", "value", "words"), REFUSED)
def test_unknown_fields_and_wrong_types(path: str, value: object, words: str) -> None:
    """A misspelt field is underlined; what is no matter of a schema is left to `lint`."""
    assert bool(faults(release(path, value))) is not (path in BEYOND)


@pytest.mark.parametrize(("path", "value"), [it for it in TAKEN if "None" not in repr(it[1])])
def test_what_is_taken(path: str, value: object) -> None:
    """What the server takes is not underlined. A null is: the server drops it, and it is seldom meant."""
    assert faults(release(path, value)) == []


def test_every_field_has_its_sentence() -> None:
    """Hovering over a field shows what `kubectl explain` says."""

    def undescribed(node: dict[str, Any], path: str) -> list[str]:
        found = [] if node.get("description") or path.endswith("[]") else [path]
        for name, child in node.get("properties", {}).items():
            found += undescribed(child, f"{path}.{name}")
        return found + (undescribed(node["items"], f"{path}[]") if "items" in node else [])

    assert undescribed(SCHEMA["properties"]["spec"], "spec") == []
