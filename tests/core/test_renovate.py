"""The Renovate preset finds what it should, by the engine that Renovate has: RE2 (the package re2 of Node.js)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import re2
import yaml

from pluginrelease import api

CHECKOUT = Path(__file__).resolve().parents[2]
[MANAGER] = json.loads((CHECKOUT / "deploy/renovate.json").read_text())["customManagers"]
DIGEST = f"sha256:{'a' * 64}"
MANIFESTS = sorted(CHECKOUT.glob("examples/**/*.yaml"))


def found(text: str) -> list[dict[str, str | None]]:
    """What Renovate's strategy `recursive` finds: each pattern searches all that the one before it found."""
    parts, groups = [text], []
    for pattern in MANAGER["matchStrings"]:
        matches = [match for part in parts for match in re2.finditer(pattern, part)]
        parts, groups = [match.group(0) for match in matches], [match.groupdict() for match in matches]
    return groups


def release(ref: str, head: str = "apiVersion: pluginrelease.io/v1alpha1\nkind: PluginRelease\n") -> str:
    image = f"    image:\n      insecure: true\n      ref: {ref}\n"
    return f"{head}metadata:\n  name: auth\nspec:\n  artifact:\n{image}  provider: Istio\n"


@pytest.mark.parametrize(
    ("ref", "name", "tag", "digest"),
    [
        ("registry.example.com/plugins/auth:1.0", "registry.example.com/plugins/auth", "1.0", None),
        ('"registry.example.com/plugins/auth:1.0"', "registry.example.com/plugins/auth", "1.0", None),
        ("localhost:5000/auth:v1.2.3-rc.1 # why", "localhost:5000/auth", "v1.2.3-rc.1", None),
        (f"registry.example.com:5000/a/b/c:1@{DIGEST}", "registry.example.com:5000/a/b/c", "1", DIGEST),
    ],
)
def test_an_image_is_found(ref: str, name: str, tag: str, digest: str | None) -> None:
    """Name, tag and digest, with quotes or without, and with other fields before it."""
    assert found(release(ref)) == [{"depName": name, "currentValue": tag, "currentDigest": digest}]


@pytest.mark.parametrize(
    "text",
    [
        release("registry.example.com/plugins/auth"),
        release("registry.example.com/plugins/auth:1.0", "kind: Plugin\n"),
        release("registry.example.com/plugins/auth:1.0", "kind: PluginReleaseList\n"),
        "kind: PluginRelease\nmetadata: {}\n---\nkind: Other\nref: registry.example.com/plugins/auth:1.0\n",
        "kind: Other\nspec:\n  template:\n    kind: PluginRelease\n    ref: registry.example.com/plugins/auth:1.0\n",
    ],
    ids=["no tag", "another kind", "a longer kind", "another document", "not the document's kind"],
)
def test_what_is_no_image_of_a_release(text: str) -> None:
    """Nothing of other kinds or documents, and nothing that has no version to update, such as a release with semver."""
    assert found(text) == []


def test_every_document_of_a_file() -> None:
    """Two releases in a file are two dependencies."""
    text = release("registry.example.com/plugins/a:1") + "---\n" + release("registry.example.com/plugins/b:2")
    assert [it["currentValue"] for it in found(text)] == ["1", "2"]


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: str(file.relative_to(CHECKOUT)))
def test_the_examples_are_found(file: Path) -> None:
    """Each release of the examples that names a tag; overlays are for Renovate's own manager of Kustomize."""
    text = file.read_text(encoding="utf-8")
    documents = [it for it in yaml.safe_load_all(text) if it and it.get("kind") == api.KIND and "spec" in it]
    sources = [it["spec"]["artifact"] for it in documents if "artifact" in it["spec"]]
    images = [source["image"]["ref"] for source in sources if "image" in source]
    images = [image for image in images if ":" in image.rpartition("/")[2]]
    assert [f"{it['depName']}:{it['currentValue']}" for it in found(text)] == images
