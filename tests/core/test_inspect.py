"""inspect and copy without a registry: files and folders, the answers, the exit codes, the three outputs."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from pluginrelease.cli import main
from pluginrelease.core.artifact import image_manifests, packing, salvage
from pluginrelease.core.artifact.image_manifests import Descriptor, Digest
from pluginrelease.core.compat import gateway_versions
from pluginrelease.core.errors import Refused
from pluginrelease.core.wasm import Feature
from tests import odd_modules
from tests import wasm_modules as made

GO_1_26 = made.plugin("0_2_1", imports=[("env", "proxy_done")])
REDIS = made.plugin("0_2_100", imports=[("env", "proxy_redis_call")])
MISSING = made.missing_import()


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["inspect", *words])


def told(*words: str) -> tuple[int, dict[str, Any]]:
    ended = run(*words, "-o", "json")
    return ended.exit_code, json.loads(ended.stdout)


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    path = tmp_path / "plugin.wasm"
    path.write_bytes(GO_1_26)
    return str(path)


def write(folder: Path, content: bytes) -> str:
    path = folder / "some.wasm"
    path.write_bytes(content)
    return str(path)


# --- a file ---


def test_the_shape_of_the_answer(plugin: str) -> None:
    """The JSON has just the fields that docs/inspect.md promises, all of them, whatever the answer."""
    code, usable = told(plugin, "--for", "istio@1.31")
    assert code == 0
    assert usable == {
        "target": plugin,
        "digest": None,
        "layout": None,
        "wasm": {
            "sha256": Digest.of(GO_1_26).hex,
            "size": len(GO_1_26),
            "abi": "0.2.1",
            "toolchain": "",
            "toolchainVersion": "",
            "imports": ["env.proxy_done"],
            "exports": ["proxy_abi_version_0_2_1", "proxy_on_memory_allocate", "_initialize", "memory"],
        },
        "for": "istio@1.31",
        "ok": True,
        "reasons": [],
        "warnings": [],
    }
    code, absent = told("absent.wasm")
    assert code == 2
    assert absent.keys() == usable.keys()
    assert (absent["wasm"], absent["for"], absent["ok"]) == (None, None, False)
    assert [finding["reason"] for finding in absent["reasons"]] == ["TargetNotFound"]


@pytest.mark.parametrize(
    ("content", "gateway", "code", "reasons"),
    [
        (made.plugin("0_2_1"), "", 0, []),
        (made.plugin("0_2_1"), "envoy@1.20", 0, []),
        (made.plugin("0_2_100"), "istio@1.31", 1, ["UnknownABI"]),
        (REDIS, "istio@1.31", 1, ["UnknownABI", "MissingHostFunction"]),
        (made.plugin("0_2_100"), "higress@2.2", 0, []),
        (made.plugin("0_2_100"), "", 1, ["UnknownABI"]),
        (MISSING, "", 1, ["MissingHostFunction"]),
        (MISSING, "istio@1.99", 1, ["MissingHostFunction"]),
        (made.plugin("0_2_1"), "istio@1.99", 2, ["GatewayVersionUnknown"]),
        (made.plugin("0_2_1"), "higress@3.0", 2, ["GatewayVersionUnknown"]),
        (made.without_allocator(), "istio@1.31", 1, ["MissingAllocator"]),
        (made.composed([("env", "proxy_nope", 0, 1)], []), "", 1, ["UnknownABI", "MissingAllocator"]),
        (made.truncated(), "istio@1.31", 1, ["TruncatedModule"]),
        (made.text_file(), "", 1, ["NotWasm"]),
        (made.component(), "", 1, ["ComponentNotModule"]),
    ],
)
def test_answers(tmp_path: Path, content: bytes, gateway: str, code: int, reasons: list[str]) -> None:
    """0 for what the gateway can run, 1 for what it cannot, 2 where nobody can tell; with all that is wrong."""
    ended, seen = told(write(tmp_path, content), *(["--for", gateway] if gateway else []))
    assert (ended, [finding["reason"] for finding in seen["reasons"]]) == (code, reasons)
    assert seen["ok"] is (code == 0)


NATIVE_CODE = made.section(0, made.name("wamr-aot") + b"native")
NATIVE = made.plugin("0_2_1") + NATIVE_CODE


@pytest.mark.parametrize(
    ("content", "options", "code", "reasons", "warnings"),
    [
        (odd_modules.named("start-logs"), [], 1, ["StartCallsHost"], []),
        (odd_modules.named("initialize-global"), ["--for", "istio@1.31"], 0, [], ["IgnoredExport"]),
        (odd_modules.named("types-20001"), ["--for", "istio@1.31"], 2, ["ModuleNotRead"], []),
        (odd_modules.named("parameters-1001"), ["--for", "istio@1.31"], 1, ["BeyondV8Limits"], []),
        (odd_modules.named("garbage-collection"), ["--for", "istio@1.27"], 0, [], ["UnsupportedFeature"]),
        (odd_modules.named("garbage-collection"), ["--for", "istio@1.23"], 1, ["UnsupportedFeature"], []),
        (NATIVE, ["--for", "istio@1.31"], 0, [], ["NativeCode"]),
        (NATIVE, ["--for", "higress@2.2"], 1, ["NativeCode"], []),
        (NATIVE, ["--for", "higress@2.2", "--allow-native-code"], 0, [], ["NativeCode"]),
        (NATIVE, ["--allow-native-code", "--for", "higress@2.2"], 0, [], ["NativeCode"]),
    ],
)
def test_odd_modules(
    tmp_path: Path, content: bytes, options: list[str], code: int, reasons: list[str], warnings: list[str]
) -> None:
    """What kills a gateway is refused; what loads and is odd is a warning, which leaves the answer alone; what is not
    read is not called refused."""
    ended, seen = told(write(tmp_path, content), *options)
    assert (ended, [finding["reason"] for finding in seen["reasons"]]) == (code, reasons)
    assert [finding["reason"] for finding in seen["warnings"]] == warnings


def test_what_the_table_shows_of_an_odd_module(tmp_path: Path) -> None:
    """The memory, the parts of the language that it needs, native code, and each warning."""
    table = run(write(tmp_path, odd_modules.named("garbage-collection") + NATIVE_CODE)).stdout
    assert "MEMORY      pages of 64 KiB: 1" in table
    assert f"NEEDS       {Feature.GC}, {Feature.REFERENCES}" in table
    assert "NATIVE      wamr-aot: native code" in table
    assert "WARNING     NativeCode: " in table


def test_native_code_is_allowed_at_a_gateway(plugin: str) -> None:
    """--allow-native-code says something of the gateway that --for names, and nothing without one."""
    ended = run(plugin, "--allow-native-code")
    assert ended.exit_code == 2
    assert "--for" in ended.stderr


def test_an_unknown_version_is_told_and_not_guessed(plugin: str) -> None:
    """The message says which versions are known."""
    _, seen = told(plugin, "--for", "istio@1.99")
    assert "1.16 to 1.31 are" in seen["reasons"][0]["message"]


@pytest.mark.parametrize("gateway", ["istio", "linkerd@2.1", "istio@latest", "istio@1.31.x"])
def test_what_names_no_gateway_is_an_error_of_usage(plugin: str, gateway: str) -> None:
    """--for has one form, and the message shows it."""
    ended = run(plugin, "--for", gateway)
    assert ended.exit_code == 2
    assert "istio@1.31" in ended.stderr


def test_yaml_and_table(plugin: str) -> None:
    """YAML says what JSON says; the table has the facts, and with --functions the types that Envoy compares."""
    assert yaml.safe_load(run(plugin, "-o", "yaml").stdout) == told(plugin)[1]
    table = run(plugin, "--functions").stdout
    assert "env.proxy_done: void -> i32" in table
    assert "proxy_on_memory_allocate: i32 -> i32" in table
    assert "ANSWER      usable" in table
    assert "env.proxy_done" not in run(plugin).stdout


def test_a_module_cannot_steer_the_terminal(tmp_path: Path) -> None:
    """Names in a module are a stranger's: no control character of theirs comes out."""
    evil = made.plugin("0_2_1", imports=[("env", "\x1b[2J\x07")]) + made.section(0, made.name("\x1b]0;x\x07"))
    assert "\x1b" not in run(write(tmp_path, evil), "--functions").stdout


# --- a folder ---


def layout(
    folder: Path, content: bytes, media_type: str = image_manifests.OCI_LAYER, tags: tuple[str, ...] = ("1.0",)
) -> Path:
    """An OCI image layout with one image of one layer, under these tags."""
    image = packing.pack(content)
    layer = image.layer if media_type == image_manifests.OCI_LAYER else content
    manifest = json.loads(image.manifest)
    manifest["layers"] = [{"mediaType": media_type, "digest": str(Digest.of(layer)), "size": len(layer)}]
    raw = json.dumps(manifest).encode()
    (folder / "blobs" / "sha256").mkdir(parents=True)
    for blob in (layer, image.config, raw):
        (folder / "blobs" / "sha256" / Digest.of(blob).hex).write_bytes(blob)
    entry = {"mediaType": image_manifests.OCI_MANIFEST, "digest": str(Digest.of(raw)), "size": len(raw)}
    entries = [entry | {"annotations": {"org.opencontainers.image.ref.name": tag}} for tag in tags]
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def test_a_folder(tmp_path: Path) -> None:
    """An OCI layout is looked at as an image in a registry is: digest, layout, module."""
    code, seen = told(str(layout(tmp_path / "oci", GO_1_26)), "--for", "istio@1.31")
    assert (code, seen["layout"], seen["wasm"]["sha256"]) == (0, "OCICompat", Digest.of(GO_1_26).hex)
    assert seen["digest"].startswith("sha256:")


def test_a_folder_in_a_layout_that_no_gateway_reads(tmp_path: Path) -> None:
    """It is refused with its digest, and with the commands that put it right."""
    code, seen = told(str(layout(tmp_path / "oci", GO_1_26, image_manifests.WASM_LAYER)))
    [reason] = seen["reasons"]
    assert (code, reason["reason"], seen["layout"]) == (1, "UnreadableLayout", None)
    assert seen["digest"].startswith("sha256:")
    assert "pluginrelease push" in reason["message"]
    assert "pluginrelease copy" in reason["message"]


def test_a_folder_with_several_images(tmp_path: Path) -> None:
    """Which one is meant is asked, with the tags that there are."""
    folder = layout(tmp_path / "oci", GO_1_26, tags=("1.0", "1.1"))
    code, seen = told(str(folder))
    assert (code, seen["reasons"][0]["reason"]) == (2, "ManifestNotInLayout")
    assert "1.0, 1.1" in seen["reasons"][0]["message"]
    assert told(f"{folder}:1.1")[0] == 0


def test_a_folder_with_other_bytes(tmp_path: Path) -> None:
    """A blob that is not what its name says is refused."""
    folder = layout(tmp_path / "oci", GO_1_26)
    blob = max((folder / "blobs" / "sha256").iterdir(), key=lambda file: file.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    code, seen = told(str(folder))
    assert (code, seen["reasons"][0]["reason"]) == (1, "DigestMismatch")


@pytest.mark.parametrize("index", [b"", b"[]", b"{", b'{"manifests": 1}', b'{"manifests": [{"digest": 1}]}'])
def test_a_folder_with_a_bad_index(tmp_path: Path, index: bytes) -> None:
    """It is an answer with a reason, never a traceback."""
    (tmp_path / "index.json").write_bytes(index)
    code, seen = told(str(tmp_path))
    assert code in (1, 2)
    assert seen["reasons"][0]["reason"] in ("MalformedManifest", "ManifestNotInLayout")


def test_a_folder_that_lacks_a_file(tmp_path: Path) -> None:
    """It is no whole image layout, and the answer says with what to write one."""
    folder = layout(tmp_path / "oci", GO_1_26)
    for blob in (folder / "blobs" / "sha256").iterdir():
        blob.unlink()
    _, seen = told(str(folder))
    assert seen["reasons"][0]["reason"] == "InvalidLayout"
    assert "skopeo" in seen["reasons"][0]["message"]


@pytest.mark.parametrize("text", ["istio", "envoy@", "kong@3.0"])
def test_a_gateway_that_is_none(text: str) -> None:
    """What names no gateway and version is refused, with the form that does."""
    with pytest.raises(Refused) as refused:
        gateway_versions.read(text)
    assert refused.value.reason == "InvalidGateway"


# --- versions ---


def test_pairings() -> None:
    """An Istio has the Envoy that Istio's page of releases says; patches are allowed."""
    assert [str(host) for host in gateway_versions.read("istio@1.31.2").hosts] == ["1.39 (Istio 1.31.2)"]
    assert [str(host) for host in gateway_versions.read("Envoy@v1.33").hosts] == ["1.33"]
    assert gateway_versions.read("istio@1.15").hosts == ()


# --- what salvages ---


def archive(files: dict[str, bytes], mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def found(*blobs: bytes) -> bytes:
    """What is found in an image of these layers."""
    stored = {Digest.of(blob): blob for blob in blobs}
    layers = [{"mediaType": "any/thing", "digest": str(Digest.of(blob)), "size": len(blob)} for blob in blobs]

    def read(layer: Descriptor) -> bytes:
        return stored[layer.digest]

    return salvage.find_module(json.dumps({"layers": layers}).encode(), read, 1 << 20)


README = b"# A plugin\n"


@pytest.mark.parametrize(
    "blobs",
    [
        [GO_1_26],
        [b"{}", GO_1_26],
        [b"{}", README, archive({"plugin.wasm": GO_1_26}, "w:gz")],
        [archive({"plugin.wasm": GO_1_26}, "w:gz"), README],
        [archive({"plugin.wasm": GO_1_26}, "w")],
        [archive({"app/main.wasm": GO_1_26, "README.md": README}, "w:gz")],
        [archive({"plugin.wasm": GO_1_26, "test.wasm": MISSING}, "w:gz")],
        [MISSING, archive({"plugin.wasm": GO_1_26}, "w:gz")],
        [archive({"plugin.wasm": MISSING}, "w:gz"), archive({"plugin.wasm": GO_1_26}, "w:gz")],
        [GO_1_26, GO_1_26],
    ],
    ids=["raw", "two", "three", "not last", "not packed", "another name", "beside", "over", "newer", "twice"],
)
def test_the_module_is_found(blobs: list[bytes]) -> None:
    """Whatever the layout, the module's bytes come out: a plugin.wasm first, the last layer's before the others'."""
    assert found(*blobs) == GO_1_26


@pytest.mark.parametrize(
    ("blobs", "reason"),
    [
        ([], "NoModule"),
        ([README, b"{}"], "NoModule"),
        ([archive({"plugin.wasm": README}, "w:gz")], "NoModule"),
        ([b"\x28\xb5\x2f\xfd rest"], "NoModule"),
        ([b"\x1f\x8b\x08\x00 broken"], "NoModule"),
        ([GO_1_26, MISSING], "SeveralModules"),
        ([archive({"plugin.wasm": bytes(2 << 20)}, "w:gz")], "ArtifactTooLarge"),
    ],
)
def test_no_module_is_found(blobs: list[bytes], reason: str) -> None:
    """What has no module in it, or leaves open which, is refused."""
    with pytest.raises(Refused) as refused:
        found(*blobs)
    assert refused.value.reason == reason
