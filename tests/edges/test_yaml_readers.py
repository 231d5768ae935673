"""The readings in tests/core/test_ambiguous_yaml.py are those of the real readers: kubectl's, and Kustomize's, which is
also Flux's. And kubeconform takes the schema for editors."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pluginrelease.cli import crd
from pluginrelease_lab import binaries
from tests.core.test_ambiguous_yaml import KEYS, VALUES
from tests.core.test_json_schema import examples
from tests.edges.crd_objects import release

CHECKOUT = Path(__file__).resolve().parents[2]
SECONDS = 30.0
HEAD = "apiVersion: example.com/v1\nkind: Any\nmetadata: {name: any}"


@pytest.fixture(scope="module")
def readers() -> None:
    """Its name makes tests/conftest.py build the programs before the clock runs."""


@pytest.fixture(scope="module")
def written(readers: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an object of any kind that has every value of the tables, and every key that all can read."""
    folder = tmp_path_factory.mktemp("readers")
    lines = [HEAD, "values:"]
    lines += [f"- {text}" for text, *_ in VALUES]
    lines += ["keys:", *(f"- {text}: a" for text, _, flux in KEYS if flux)]
    (folder / "any.yaml").write_text("\n".join(lines) + "\n")
    (folder / "kustomization.yaml").write_text("resources: [any.yaml]\n")
    return folder


def kubectl(*words: str) -> str:
    argv = [str(binaries.provide("kubectl")), *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=True).stdout


def read_by_kubectl(file: Path) -> dict[str, Any]:
    """An object of a file as kubectl has it, without a server."""
    found: dict[str, Any] = json.loads(kubectl("patch", "--local", "-f", str(file), "--type=merge", "-p={}", "-o=json"))
    return found


def same(found: list[object], wanted: list[object]) -> bool:
    """Equal, and true is not 1."""
    return json.dumps(found) == json.dumps(
        [int(it) if isinstance(it, float) and it.is_integer() else it for it in wanted]
    )


def test_kubectl_reads_so(written: Path) -> None:
    """What `lint` says that kubectl reads, kubectl reads."""
    found = read_by_kubectl(written / "any.yaml")
    assert same(found["values"], [read for _, read, _, _ in VALUES])
    assert [list(it) for it in found["keys"]] == [[read] for _, read, flux in KEYS if flux]


def test_kustomize_reads_so(written: Path) -> None:
    """What `lint` says that Kustomize and Flux read, Kustomize reads: its output has quotes."""
    found = yaml.safe_load(kubectl("kustomize", str(written)))
    assert same(found["values"], [read for _, _, read, _ in VALUES])
    assert [list(it) for it in found["keys"]] == [[read] for _, _, read in KEYS if read]


@pytest.mark.parametrize(("text", "read"), [(text, read) for text, read, flux in KEYS if not flux])
def test_kustomize_fails_where_it_is_said(readers: None, tmp_path: Path, text: str, read: str) -> None:
    """A key that kubectl takes as a text ends the build with Kustomize, and so with Flux."""
    (tmp_path / "any.yaml").write_text(f"{HEAD}\nkeys: {{{text}: a}}\n")
    (tmp_path / "kustomization.yaml").write_text("resources: [any.yaml]\n")
    assert read_by_kubectl(tmp_path / "any.yaml")["keys"] == {read: "a"}
    with pytest.raises(subprocess.CalledProcessError) as failed:
        kubectl("kustomize", str(tmp_path))
    assert "unsupported type" in failed.value.stderr


def kubeconform(*files: Path) -> subprocess.CompletedProcess[str]:
    where = str(CHECKOUT / crd.SCHEMA.parent / "{{ .ResourceKind }}.schema.json")
    argv = [str(binaries.provide("kubeconform")), "-strict", "-output", "json", "-schema-location", where]
    return subprocess.run([*argv, *map(str, files)], capture_output=True, text=True, timeout=SECONDS, check=False)


def test_kubeconform_takes_the_examples(readers: None) -> None:
    """A pipeline without a cluster checks manifests with the schema, by the name that kubeconform looks for."""
    found = kubeconform(*examples())
    assert (found.returncode, found.stdout.count("statusInvalid")) == (0, 0), found.stdout


def test_kubeconform_refuses_a_misspelt_field(readers: None, tmp_path: Path) -> None:
    """A field that the API server would drop is an error."""
    file = tmp_path / "release.yaml"
    file.write_text(yaml.safe_dump(release("spec.plugin.prioritty", 1)))
    found = kubeconform(file)
    assert found.returncode == 1
    assert "prioritty" in found.stdout
