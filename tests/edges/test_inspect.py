"""inspect, copy and lint --online against a real registry (CNCF distribution)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from pluginrelease.cli import main
from pluginrelease.core.artifact import image_manifests, packing
from pluginrelease.core.artifact.image_manifests import Digest
from pluginrelease.edges.oci import distribution, registry
from pluginrelease.edges.oci.access import Access
from tests import odd_modules
from tests import wasm_modules as made
from tests.edges.crd_objects import release
from tests.edges.crd_rules import REF
from tests.edges.real_registry import PASSWORD, Real, secret

UNSAFE_REALM = "rejected unsafe bearer realm"  # words of Istio's agent

WASM = made.plugin("0_2_1")
OPEN = Access(insecure=True, deadline_seconds=20)
REALM = "Registry"  # which Istio's agent refuses


@pytest.fixture
def config(private: Real, tmp_path: Path) -> str:
    """A docker config.json with the private registry's credentials."""
    file = tmp_path / "config.json"
    file.write_bytes(secret(private.host))
    return str(file)


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials of whoever runs the tests."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))


def write(folder: Path, content: bytes) -> Path:
    file = folder / "plugin.wasm"
    file.write_bytes(content)
    return file


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def told(*words: str) -> tuple[int, dict[str, Any]]:
    ended = run("inspect", *words, "--insecure", "-o", "json")
    return ended.exit_code, json.loads(ended.stdout)


def raw(real: Real, name: str, content: bytes = WASM) -> str:
    """An image that gateways cannot read: the module is its only layer."""
    repository, _, tag = name.partition(":")
    layer = real.blob(repository, content) | {"mediaType": image_manifests.WASM_LAYER}
    config = real.blob(repository, b"{}") | {"mediaType": image_manifests.OCI_CONFIG}
    return real.manifest(repository, tag, image_manifests.OCI_MANIFEST, {"config": config, "layers": [layer]})


def test_an_image(plain: Real, tmp_path: Path) -> None:
    """An image's digest, its layout and its module, and nothing against it."""
    pushed = registry.push(plain.reference("team/good:1"), write(tmp_path, WASM), OPEN)
    code, seen = told(f"{plain.host}/team/good:1", "--for", "istio@1.31")
    assert (code, seen["ok"], seen["reasons"]) == (0, True, [])
    assert (seen["digest"], seen["layout"]) == (str(pushed), "OCICompat")
    assert seen["wasm"]["sha256"] == Digest.of(WASM).hex


def test_an_image_that_gateways_refuse(plain: Real, tmp_path: Path) -> None:
    """Refused for its module: with the digest, the layout and the reason that a condition would have."""
    registry.push(plain.reference("team/abi:1"), write(tmp_path, made.unknown_abi()), OPEN)
    code, seen = told(f"{plain.host}/team/abi:1")
    assert (code, seen["layout"], seen["wasm"]["abi"]) == (1, "OCICompat", "9.9.9")
    assert [finding["reason"] for finding in seen["reasons"]] == ["UnknownABI"]


def test_what_is_not_there(plain: Real) -> None:
    """Nobody could look: code 2, and the registry's own words."""
    code, seen = told(f"{plain.host}/team/nothing:1")
    assert (code, seen["digest"]) == (2, None)
    assert [finding["reason"] for finding in seen["reasons"]] == ["ManifestNotFound"]


def test_credentials(private: Real, config: str, tmp_path: Path) -> None:
    """Without credentials nobody can look, and the remedy is for a terminal; with a config.json all can be seen. None
    of it is a secret."""
    access = Access(insecure=True, dockerconfigjson=secret(private.host))
    registry.push(private.reference("team/good:1"), write(tmp_path, WASM), access)
    code, seen = told(f"{private.host}/team/good:1")
    assert (code, seen["reasons"][0]["reason"]) == (2, "AuthenticationRequired")
    assert "docker login" in seen["reasons"][0]["message"]
    ended = run("inspect", f"{private.host}/team/good:1", "--insecure", "--docker-config", config)
    assert ended.exit_code == 0, ended.output
    assert PASSWORD not in ended.output


def test_a_registry_that_istio_refuses(private: Real, config: str, tmp_path: Path) -> None:
    """The credentials are right, and Istio's agent would still not fetch: that is said for the versions it is so."""
    access = Access(insecure=True, dockerconfigjson=secret(private.host))
    registry.push(private.reference("team/realm:1"), write(tmp_path, WASM), access)
    target = (f"{private.host}/team/realm:1", "--docker-config", config)
    code, seen = told(*target, "--for", "istio@1.31")
    assert (code, [finding["reason"] for finding in seen["reasons"]]) == (1, ["RegistryChallengeRefused"])
    assert UNSAFE_REALM in seen["reasons"][0]["message"]
    assert told(*target, "--for", "istio@1.26")[0] == 0


def test_copy_makes_it_readable(plain: Real) -> None:
    """What inspect refuses for its layout is readable after copy, by the digest that copy prints, with the same
    bytes."""
    raw(plain, "team/raw:1")
    code, before = told(f"{plain.host}/team/raw:1")
    assert (code, before["reasons"][0]["reason"]) == (1, "UnreadableLayout")
    copied = run("copy", f"{plain.host}/team/raw:1", f"{plain.host}/team/good:2", "--insecure")
    assert copied.exit_code == 0, copied.output
    code, after = told(copied.stdout.strip())
    assert (code, after["layout"], after["wasm"]["sha256"]) == (0, "OCICompat", Digest.of(WASM).hex)
    assert copied.stdout.strip() == f"{plain.host}/team/good@{packing.pack(WASM).digest}"


def test_copy_of_an_index_without_the_platform(plain: Real) -> None:
    """A module has no platform: an index that has none for a gateway is copied all the same."""
    child = raw(plain, "team/arm:one")
    size = len(registry_manifest(plain, "team/arm", "one"))
    entry = {"mediaType": image_manifests.OCI_MANIFEST, "digest": child, "size": size}
    arm = entry | {"platform": {"os": "linux", "architecture": "arm64"}}
    plain.manifest("team/arm", "1", image_manifests.OCI_INDEX, {"manifests": [arm]})
    assert told(f"{plain.host}/team/arm:1")[1]["reasons"][0]["reason"] == "NoUsablePlatform"
    copied = run("copy", f"{plain.host}/team/arm:1", f"{plain.host}/team/arm:2", "--insecure")
    assert copied.exit_code == 0, copied.output
    assert told(f"{plain.host}/team/arm:2")[0] == 0


def registry_manifest(real: Real, repository: str, tag: str) -> bytes:
    """The bytes of a manifest as the registry has them."""
    with distribution.open_repository(real.reference(f"{repository}:{tag}"), OPEN) as opened:
        return opened.manifest(tag)[1]


def test_copy_refuses_what_has_no_module(plain: Real) -> None:
    """An image of something else is not copied, and nothing is pushed."""
    raw(plain, "team/text:1", made.text_file())
    copied = run("copy", f"{plain.host}/team/text:1", f"{plain.host}/team/text:2", "--insecure")
    assert copied.exit_code == 1
    assert "NoModule" in copied.stderr
    assert told(f"{plain.host}/team/text:2")[1]["reasons"][0]["reason"] == "ManifestNotFound"


def test_the_highest_tag_within_a_range(plain: Real, tmp_path: Path) -> None:
    """inspect --semver and lint --online look at the image that a release with this range would run."""
    good = write(tmp_path, WASM)
    for version in ("v1.2.0", "1.10.0", "2.0.0"):
        registry.push(plain.reference(f"team/ranged:{version}"), good, OPEN)
    code, seen = told(f"{plain.host}/team/ranged", "--semver", "1.x")
    assert (code, seen["target"]) == (0, f"{plain.host}/team/ranged:1.10.0")
    code, seen = told(f"{plain.host}/team/ranged", "--semver", "3.x")
    assert (code, [finding["reason"] for finding in seen["reasons"]]) == (2, ["NoMatchingTag"])
    code, seen = told(f"{plain.host}/team/ranged:2.0.0", "--semver", "2.x")
    assert (code, [finding["reason"] for finding in seen["reasons"]]) == (2, ["InvalidReference"])
    file = tmp_path / "release.yaml"
    for wanted, code, words in (("2.x", 0, "0 findings"), ("3.x", 2, "2.0.0, 1.10.0, v1.2.0")):
        manifest = release("spec.artifact.image.semver", wanted)
        manifest["spec"]["artifact"]["image"] |= {"ref": f"{plain.host}/team/ranged", "insecure": True}
        file.write_text(yaml.safe_dump(manifest))
        ended = run("lint", str(file), "--online")
        assert ended.exit_code == code, ended.output
        assert words in ended.stdout


def test_lint_online(plain: Real, tmp_path: Path) -> None:
    """--online looks at the image of each release, with the release's own `insecure`; the finding stands at its ref."""
    raw(plain, "team/lint:1")
    good = write(tmp_path, WASM)
    registry.push(plain.reference("team/lint:2"), good, OPEN)
    file = tmp_path / "release.yaml"
    for tag, code, words in (("1", 1, "UnreadableLayout"), ("2", 0, ""), ("3", 2, "ManifestNotFound")):
        manifest = release(REF, f"{plain.host}/team/lint:{tag}")
        manifest["spec"]["artifact"]["image"]["insecure"] = True
        file.write_text(yaml.safe_dump(manifest))
        assert run("lint", str(file)).exit_code == 0
        ended = run("lint", str(file), "--online")
        assert ended.exit_code == code, ended.output
        assert words in ended.stdout


def test_lint_online_says_what_is_odd(plain: Real, tmp_path: Path) -> None:
    """A module that loads and is odd is a warning at the image's reference, and the manifest is well."""
    registry.push(plain.reference("team/odd:1"), write(tmp_path, odd_modules.named("initialize-global")), OPEN)
    manifest = release(REF, f"{plain.host}/team/odd:1")
    manifest["spec"]["artifact"]["image"]["insecure"] = True
    file = tmp_path / "release.yaml"
    file.write_text(yaml.safe_dump(manifest))
    ended = run("lint", str(file), "--online", "--for", "istio@1.31")
    assert ended.exit_code == 0, ended.output
    assert "warning: " in ended.stdout
    assert "(IgnoredExport)" in ended.stdout
    assert "1 warning" in ended.stdout
    [answer] = json.loads(run("lint", str(file), "--online", "-o", "json").stdout)
    assert (answer["ok"], answer["findings"]) == (True, [])
    assert [finding["reason"] for finding in answer["warnings"]] == ["IgnoredExport"]


def test_push_says_what_is_odd(plain: Real, tmp_path: Path) -> None:
    """Who pushes a module learns of what would be warned of later."""
    file = write(tmp_path, odd_modules.named("start-nothing"))
    ended = run("push", str(file), f"{plain.host}/team/odd:2", "--insecure")
    assert ended.exit_code == 0, ended.output
    assert "warning: StartFunction: " in ended.stderr
