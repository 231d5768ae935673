"""The CRD as text: the files are what the models say, and the schema is one that an API server takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from pluginrelease import api
from pluginrelease.api import crd, field_tables, reasons_page
from pluginrelease.cli import crd as crd_command
from pluginrelease.cli import main

CHECKOUT = Path(__file__).resolve().parents[2]
RULES = "x-kubernetes-validations"

Node = dict[str, Any]


def nodes(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every schema node with its path: properties as .name, list items as [], map values as {}."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in node:
            yield from nodes(node[key], f"{path}{mark}")


def below(part: str) -> list[tuple[str, Node]]:
    """The nodes of spec or status."""
    return list(nodes(crd.object_schema()["properties"][part], f".{part}"))


@pytest.mark.parametrize("copy", crd_command.COPIES, ids=str)
def test_the_files_are_what_the_models_say(copy: Path) -> None:
    """crds/ and the chart's copy are the bytes that `make crds` writes: the models and the files cannot differ."""
    file = CHECKOUT / copy
    assert file.is_file(), f"{copy} is missing: run `make crds`"
    assert file.read_text(encoding="utf-8") == crd_command.text(), f"{copy} is not what the models say: run `make crds`"


def test_the_reference_is_what_the_models_say() -> None:
    """docs/api.md has a section for every top-level field and an item for each other one, in the models' own words."""
    page = (CHECKOUT / crd_command.REFERENCE).read_text(encoding="utf-8")
    assert page == field_tables.fill(page), f"{crd_command.REFERENCE} is not what the models say: run `make crds`"
    for part in ("spec", "status"):
        for path, _ in below(part):
            field = path.removeprefix(f".{part}").removeprefix(".").removesuffix("[]").removesuffix("{}")
            assert not field or f"\n### {part}.{field}\n" in page or f"\n* **`{field}`** – " in page, f"{part}.{field}"


@pytest.mark.parametrize("kind", api.ConditionType)
def test_the_reference_explains_every_condition(kind: api.ConditionType) -> None:
    """docs/api.md says what each condition means when it is True."""
    page = (CHECKOUT / crd_command.REFERENCE).read_text(encoding="utf-8")
    assert f"\n| `{kind}` | " in page


@pytest.mark.parametrize("constant", sorted(name for name in vars(api) if name.endswith(("_ANNOTATION", "_LABEL"))))
def test_the_reference_names_every_annotation_and_label(constant: str) -> None:
    """What the operator reads from or writes into metadata is documented by its name."""
    page = (CHECKOUT / crd_command.REFERENCE).read_text(encoding="utf-8")
    assert f"`{getattr(api, constant)}`" in page


def test_a_page_without_marks_is_refused() -> None:
    """A mark that was edited away is an error, not a table that quietly goes stale."""
    with pytest.raises(ValueError, match="spec"):
        field_tables.fill("no marks here")


def test_the_command_prints_the_crd() -> None:
    """`pluginrelease crd` prints YAML that is the rendered CRD, so that it can be piped to kubectl."""
    printed = CliRunner().invoke(main, ["crd"], catch_exceptions=False).stdout
    assert yaml.safe_load(printed) == crd.render()


def test_write_makes_its_folders(tmp_path: Path) -> None:
    """`make crds` makes the folders it needs, every copy has the same bytes, and the reference is filled in."""
    page = tmp_path / crd_command.REFERENCE
    page.parent.mkdir()
    page.write_text((CHECKOUT / crd_command.REFERENCE).read_text(encoding="utf-8"), encoding="utf-8")
    *copies, schema, kustomize, filled, reasons = crd_command.write(tmp_path)
    assert [path.relative_to(tmp_path) for path in copies] == list(crd_command.COPIES)
    assert {path.read_text(encoding="utf-8") for path in copies} == {crd_command.text()}
    assert schema.read_text(encoding="utf-8") == crd_command.schema_text()
    assert kustomize.read_text(encoding="utf-8") == crd_command.kustomize_text()
    assert filled == page
    assert reasons.read_text(encoding="utf-8") == reasons_page.render()


def test_write_needs_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Installed as a package there is nothing to write to: the command says so and writes nothing."""
    monkeypatch.setattr(crd_command, "CHECKOUT", tmp_path)
    outcome = CliRunner().invoke(main, ["crd", "--write"])
    assert outcome.exit_code == 2
    assert "checkout" in outcome.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", ["spec", "status"])
def test_every_property_is_typed(part: str) -> None:
    """A structural schema gives every node a type and keeps nothing of pydantic's own spelling."""
    for path, node in below(part):
        assert node.get("type"), f"{path} has no type"
        foreign = node.keys() & {"$ref", "anyOf", "allOf", "oneOf", "title", "const", "$defs"}
        assert not foreign, f"{path} carries {foreign}"


@pytest.mark.parametrize("part", ["spec", "status"])
def test_every_field_is_described(part: str) -> None:
    """`kubectl explain prel.spec` has a sentence for every field; that of a list or map also speaks of its values."""
    undescribed = [path for path, node in below(part) if not (node.get("description") or path.endswith(("{}", "[]")))]
    assert undescribed == []


def unbounded(node: Node) -> bool:
    """Whether an object can make this string, list or map as long as it likes."""
    if node["type"] == "string":
        return "maxLength" not in node and "enum" not in node
    if node["type"] == "array":
        return "maxItems" not in node
    return "additionalProperties" in node and "maxProperties" not in node


def test_what_people_write_has_maxima() -> None:
    """Every string, list and map of spec has a maximum: the API server charges CEL rules by the worst case."""
    assert [path for path, node in below("spec") if unbounded(node)] == []


def test_lists_of_status_have_maxima() -> None:
    """No list of status can grow with the number of gateway pods: an object has 1.5 MB in etcd."""
    assert [path for path, node in below("status") if node["type"] == "array" and unbounded(node)] == []


def test_a_new_object_is_not_taken_for_observed() -> None:
    """status.observedGeneration is -1 until the operator has looked, so that kstatus says InProgress, not Current."""
    assert crd.object_schema()["properties"]["status"]["default"]["observedGeneration"] == -1


def test_every_rule_says_a_remedy() -> None:
    """A CEL rule without a message prints the rule itself, which helps nobody."""
    rules = [rule for _, node in nodes(crd.object_schema()) for rule in node.get(RULES, [])]
    assert rules
    for rule in rules:
        assert len(rule.get("message", "")) > 30, rule


def test_only_config_is_open() -> None:
    """Unknown fields are pruned everywhere but in the plugin's own configuration."""
    open_nodes = [path for path, node in nodes(crd.object_schema()) if node.get("x-kubernetes-preserve-unknown-fields")]
    assert open_nodes == [".spec.plugin.config", ".spec.plugin.matchRules[].config"]


def test_conditions_merge_by_type() -> None:
    """Conditions are a map by type for server-side apply, as metav1.Condition asks for."""
    conditions = crd.object_schema()["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


def test_probes_merge_by_name() -> None:
    """Two hands may each apply a probe of their own."""
    probes = crd.object_schema()["properties"]["spec"]["properties"]["checks"]["properties"]["probes"]
    assert probes["x-kubernetes-list-type"] == "map"
    assert probes["x-kubernetes-list-map-keys"] == ["name"]


def test_the_crd_stays_small() -> None:
    """`kubectl apply` keeps a copy in an annotation of at most 256 KiB."""
    assert len(crd_command.text()) < 128 * 1024


def test_names_of_the_kind() -> None:
    """kubectl knows it as `prel`, and `kubectl get all` and `kubectl get wasm` list it."""
    names = crd.render()["spec"]["names"]
    assert names["shortNames"] == [api.SHORT_NAME]
    assert names["categories"] == ["all", "wasm"]
