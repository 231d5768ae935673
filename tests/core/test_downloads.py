"""A release of a file on an HTTP server: its identity, its WasmPlugin, and what is kept of it."""

from __future__ import annotations

from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.core import revision, sources
from pluginrelease.core.artifact import downloads
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.mesh import istio
from pluginrelease.core.mesh.placement import placements
from pluginrelease.core.rollout import bare_plugins, conflict, images, settled
from tests.harness.releases import ARTIFACT, release

JSON = dict[str, Any]

SHA256 = "ab" * 32
URL = "https://files.example.com/plugins/auth.wasm"
NAME = f"{URL}@sha256:{SHA256}"
FOUND = ARTIFACT.model_copy(
    update={"ref": NAME, "image": NAME, "digest": f"sha256:{SHA256}", "wasm_sha256": SHA256, "layout": "Download"}
)


def served(url: str = URL, sha256: str = SHA256, **changes: Any) -> api.Release:
    return release(spec__artifact={"http": {"url": url, "sha256": sha256}}, **changes)


def test_the_wasm_plugin_has_url_and_sha256() -> None:
    """Istio's agent fetches the URL and compares the hash; nothing else of the object is different."""
    [placement] = placements(served())
    spec = istio.wasm_plugin(placement, FOUND)["spec"]
    assert (spec["url"], spec["sha256"]) == (URL, SHA256)
    [image] = placements(release())
    other = istio.wasm_plugin(image, ARTIFACT)["spec"]
    assert {key: value for key, value in spec.items() if key not in ("url", "sha256")} == {
        key: value for key, value in other.items() if key != "url"
    }


def test_a_revision_comes_back_as_it_was() -> None:
    """What is kept is enough for a rollback without the spec."""
    one = served()
    kept = revision.read(revision.manifest(one, FOUND, 1))
    assert (kept.source, kept.artifact) == (one.spec.artifact, FOUND)
    assert kept.revision == revision.compute_identity(one.spec, FOUND.digest)


@pytest.mark.parametrize(
    ("url", "sha256", "same"),
    [(URL, SHA256, True), (URL, "cd" * 32, False), ("https://files.example.com/other.wasm", SHA256, False)],
)
def test_another_url_or_hash_is_another_wish(url: str, sha256: str, same: bool) -> None:
    """Either is another thing to fetch; what is known of the old one does not count."""
    known = served().model_copy(update={"status": release().status.model_copy(update={"artifact": FOUND})})
    changed = served(url, sha256).model_copy(update={"status": known.status})
    assert (settled.find_pinned(changed) is not None) is same
    assert (revision.spec_hash(changed.spec) == revision.spec_hash(known.spec)) is same


def test_a_duplicate_is_found_by_its_url() -> None:
    """Another version at the same URL, in a release or in a WasmPlugin of nobody, is the same plugin."""
    assert conflict.same_plugin(served().spec, served(sha256="cd" * 32).spec)
    assert not conflict.same_plugin(served().spec, release().spec)
    assert bare_plugins.read_repository({"spec": {"url": URL}}) == conflict.repository(served().spec) == URL


def test_the_agents_words_about_it_are_understood() -> None:
    """The agent names the module by its URL when it cannot fetch it."""
    wanted = DesiredPlugin("istio-ingress", "auth", SHA256, None, "FAIL_CLOSE", image=NAME)
    assert wanted.is_module(URL)
    assert not wanted.is_module("https://files.example.com/other.wasm")
    assert not wanted.is_module(f"oci://registry.example.com/auth@sha256:{SHA256}")


def test_it_is_asked_for_while_it_runs() -> None:
    """The file of a rollback too: a pod that starts fetches it again."""
    entry = api.HistoryEntry.model_validate(
        {
            "revision": "0123456789",
            "number": 1,
            "state": "Superseded",
            "ref": NAME,
            "digest": f"sha256:{SHA256}",
            "firstDeployed": "2026-01-01T00:00:00Z",
            "lastDeployed": "2026-01-01T00:00:00Z",
        }
    )
    assert images.name_image(entry) == images.KeptImage("0123456789", NAME, runs=False)


@pytest.mark.parametrize(
    "text",
    [URL, f"{URL}@sha256:{'AB' * 32}", f"oci://registry.example.com/a@sha256:{SHA256}", f"file:///a@sha256:{SHA256}"],
)
def test_only_a_url_with_a_hash_is_a_file(text: str) -> None:
    """Everything else is an image's reference, or nothing."""
    assert downloads.read_name(text) is None


def test_an_image_is_no_file() -> None:
    """A reference by digest has no scheme."""
    assert sources.split_download(ARTIFACT.image) is None
    assert sources.split_download(NAME) == (URL, SHA256)
