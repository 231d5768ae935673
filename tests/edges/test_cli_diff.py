"""`diff` and `render` of a release against a real API server."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from pluginrelease import api
from pluginrelease.core import config_values, revision
from pluginrelease.core.mesh import istio
from tests.edges.cli_release import (
    NAMESPACE,
    READY,
    CommandResult,
    Node,
    Shop,
    entry,
    written,
)
from tests.harness.releases import ARTIFACT

# ------------------------------------------------------------------------------------------- diff and render


def test_diff_is_quiet_while_all_is_as_wanted(released: Shop) -> None:
    """Exit code 0 and no output: what the API server added to the object is no difference."""
    assert released.run("diff", "auth") == CommandResult(0, "", "")


def test_diff_shows_a_change_of_the_spec(released: Shop) -> None:
    """Exit code 1 and a unified diff: of the spec, of a file that is not applied yet, of what another hand changed."""
    released.change(priority=7)
    ended = released.run("diff", "auth")
    assert ended.code == 1
    assert "+  priority: 7" in ended.out
    changed = {**written(), "spec": {**written()["spec"], "plugin": {"phase": "AUTHN"}}}
    ended = released.run("diff", "-f", "-", stdin=yaml.safe_dump(changed))
    assert ended.code == 1
    assert "+  phase: AUTHN" in ended.out
    assert "priority" not in ended.out
    patch = '{"spec":{"failStrategy":"FAIL_OPEN"}}'
    released.lab.kubectl("patch", "wasmplugin", "auth-public", "-n", NAMESPACE, "--type=merge", "-p", patch)
    assert "-  failStrategy: FAIL_OPEN" in released.run("diff", "auth").out


def test_diff_between_revisions(released: Shop) -> None:
    """Two kept revisions are compared whole, also when neither of them runs."""
    first = released.release.status.history[0].revision
    released.change(config={"deny": ["a"]})
    found = released.release
    released.create(revision.manifest(found, ARTIFACT, 2))
    second = revision.compute_identity(found.spec, ARTIFACT.digest)
    released.tell(READY, history=[entry(second, 2, "Stable"), entry(first, 1, "Superseded")])
    ended = released.run("diff", "auth", "--from", first, "--to", second[:6], "-o", "json")
    assert ended.code == 1
    [gateway] = ended.json["gateways"]
    assert (ended.json["different"], gateway["name"], gateway["from"]) == (True, "public", f"revision {first}")
    assert "+  pluginConfig:\n+    deny:\n+    - a\n" in gateway["diff"]
    assert released.run("diff", "auth", "--from", first, "--to", first).code == 0


def test_diff_of_a_revision_that_is_not_kept(released: Shop) -> None:
    """An error has another exit code than a difference."""
    ended = released.run("diff", "auth", "--from", "fffff")
    assert ended.code == 4
    assert "RevisionNotFound" in ended.err


def test_diff_before_the_first_write(shop: Shop) -> None:
    """Without a WasmPlugin all of it is new, and an unresolved tag is said to be one."""
    ended = shop.run("diff", "auth")
    assert ended.code == 1
    assert "+kind: WasmPlugin" in ended.out
    assert ended.err.startswith("# ")


INTERNAL = {"name": "internal", "namespace": NAMESPACE, "selector": {"matchLabels": {"app": "edge"}}}


def with_gateways(*more: Node) -> Node:
    """The release with more entries, as a file that is not applied yet."""
    spec = written()["spec"]
    return {**written(), "spec": {**spec, "gateways": [*spec["gateways"], *more]}}


def test_diff_shows_an_entry_that_comes(released: Shop) -> None:
    """A new entry is a new object; that of the others is no difference, and --gateway picks one."""
    text = yaml.safe_dump(with_gateways(INTERNAL))
    ended = released.run("diff", "-f", "-", "-o", "json", stdin=text)
    assert ended.code == 1
    assert [(gateway["name"], gateway["different"]) for gateway in ended.json["gateways"]] == [
        ("public", False),
        ("internal", True),
    ]
    assert "+  name: auth-internal\n" in ended.json["gateways"][1]["diff"]
    assert released.run("diff", "-f", "-", "--gateway", "public", stdin=text).code == 0
    unknown = released.run("diff", "auth", "--gateway", "internal")
    assert unknown.code == 4
    assert "GatewayNotFound" in unknown.err


def row_of(name: str, **more: Any) -> Node:
    """What the status says of an entry that was written."""
    written_object = {
        "apiVersion": istio.TARGET.api_version,
        "kind": "WasmPlugin",
        "namespace": NAMESPACE,
        "name": name,
    }
    return {"name": "public", "state": "Loaded", "reason": "Loaded", "object": written_object, **more}


@pytest.mark.parametrize(
    ("adopted", "code"), [pytest.param(None, 1, id="it was made"), pytest.param("auth-adopted-1", 0, id="adopted")]
)
def test_diff_shows_an_entry_that_goes(released: Shop, adopted: str | None, code: int) -> None:
    """The object of an entry that is gone from the spec goes, or stays when it was somebody else's before."""
    known = {"adopted": adopted} if adopted else {"stable": {"revision": "0123456789"}}
    released.tell(READY, gateways=[row_of("auth-public", **known)])
    changed = written()
    changed["spec"] = {**changed["spec"], "gateways": [INTERNAL]}
    ended = released.run("diff", "-f", "-", "--gateway", "public", stdin=yaml.safe_dump(changed))
    assert ended.code == code
    assert ("-kind: WasmPlugin" in ended.out) is (code == 1)
    assert ("stays" in ended.err) is (code == 0)


def test_diff_says_what_is_taken_over(shop: Shop) -> None:
    """An object that is somebody else's is told as such, and with adopt: true that it is taken over."""
    theirs = {"apiVersion": istio.TARGET.api_version, "kind": "WasmPlugin"}
    spec = {"url": "oci://registry.example.com/theirs:1", "selector": {"matchLabels": {"app": "edge"}}}
    shop.create({**theirs, "metadata": {"name": "guard", "namespace": NAMESPACE}, "spec": spec})
    entry_of = {**INTERNAL, "objectName": "guard"}
    refused = shop.run("diff", "-f", "-", "--gateway", "internal", stdin=yaml.safe_dump(with_gateways(entry_of)))
    assert (refused.code, "ObjectNotOurs" in refused.err) == (1, True)
    taken = yaml.safe_dump(with_gateways({**entry_of, "adopt": True}))
    ended = shop.run("diff", "-f", "-", "--gateway", "internal", stdin=taken)
    assert (ended.code, "taken over" in ended.err) == (1, True)


def test_render_prints_what_is_in_the_cluster(released: Shop) -> None:
    """`render` of an unchanged release is what the API server takes without a change."""
    ended = released.run("render", "auth")
    assert ended.code == 0
    answer = released.lab.kubectl(
        "apply", "--server-side", "--dry-run=server", "-f", "-", "-o", "json", stdin=ended.out
    )
    live = released.lab.kubectl("get", "wasmplugin", "auth-public", "-n", NAMESPACE, "-o", "json")
    assert json.loads(answer)["spec"] == json.loads(live)["spec"]


# ------------------------------------------------------------------------------------------- values of configFrom

SOURCE = {"kind": "Secret", "name": "token", "key": "token", "path": "/upstream/token"}
PLANTED = "planted-value"


def plant(shop: Shop) -> None:
    """Put a value of a Secret into the live object, as the operator does."""
    annotations = {api.CONFIG_FROM_ANNOTATION: '["/pluginConfig/upstream/token"]'}
    spec = {"pluginConfig": {"mode": "strict", "upstream": {"token": PLANTED}}}
    patch = json.dumps({"metadata": {"annotations": annotations}, "spec": spec})
    shop.lab.kubectl("patch", "wasmplugin", "auth-public", "-n", NAMESPACE, "--type=merge", "-p", patch)


@pytest.mark.parametrize("named", [True, False], ids=["the spec names it", "the spec names nothing any more"])
def test_diff_shows_no_value(released: Shop, named: bool) -> None:
    """The rest of the configuration is compared; the value is on no side, whatever the spec says now."""
    plant(released)
    more = {"configFrom": [SOURCE]} if named else {}
    released.change(config={"mode": "lax"}, **more)
    ended = released.run("diff", "auth")
    assert ended.code == 1
    assert "-    mode: strict" in ended.out
    assert PLANTED not in ended.out + ended.err


def test_render_shows_where_a_value_goes(released: Shop) -> None:
    """The place has a stand-in, and a remark names the Secret."""
    released.change(configFrom=[SOURCE])
    ended = released.run("render", "auth")
    assert ended.code == 0
    [shown] = [document for document in yaml.safe_load_all(ended.out) if document]
    assert shown["spec"]["pluginConfig"] == {"upstream": {"token": config_values.STAND_IN}}
    assert "Secret token" in ended.err


def test_a_file_on_a_server_is_rendered_with_its_hash(released: Shop) -> None:
    """Its digest is in the manifest, so nothing needs to be asked."""
    http = {"url": "https://files.example.com/auth.wasm", "sha256": "0" * 64}
    manifest = {**written(), "spec": {**written()["spec"], "artifact": {"http": http}}}
    ended = released.run("render", "-f", "-", stdin=yaml.safe_dump(manifest))
    assert ended.code == 0
    assert http.items() <= yaml.safe_load(ended.out)["spec"].items()
