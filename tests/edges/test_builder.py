"""From Go source to a module that the stock Envoy runs. Real Go, real Envoy on loopback."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import click.testing
import pytest
import requests
import yaml

from pluginrelease import api
from pluginrelease.cli.build import build as build_command
from pluginrelease.core import config_values, wasm
from pluginrelease.core.config_values import ConfigValues
from pluginrelease.core.errors import Refused, Transient
from pluginrelease.core.mesh import istio
from pluginrelease.edges.toolchain import builder
from tests import wasm_modules
from tests.edges import plain_envoy

# words of the plugin and of Envoy
NEEDS_TOKEN = "shared-token: the configuration needs header and token"
ASKED_TO_FAIL = "refuses-config: asked to fail"
UNKNOWN_ABI = "Missing or unknown Proxy-Wasm ABI version"

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
EXAMPLE = EXAMPLES / "header-authorization"
PLUGINS = ROOT / "tests" / "fixtures" / "plugins"


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, builder.Built]:
    """The example and the test plugins, built from their sources; the modules they need are fetched once and kept."""
    folder = tmp_path_factory.mktemp("modules")
    examples = {name: EXAMPLES / name for name in ("header-authorization", "shared-token")}
    sources = examples | {each: PLUGINS / each for each in ("versioned", "refuses-config")}
    return {
        name: builder.compile_go(source, folder / name / "plugin.wasm", deadline=280)
        for name, source in sources.items()
    }


def test_the_example_guards_a_gateway(modules: dict[str, builder.Built], gateway: plain_envoy.PlainGateway) -> None:
    """The guide's two requests: 403 with the guide's words without the header, 200 with it; both are in the log."""
    url = gateway.serve("guarded", modules["header-authorization"].path)
    refused = requests.get(url, timeout=20)
    wrong = requests.get(url, headers={"allow": "false"}, timeout=20)
    allowed = requests.get(url, headers={"allow": "true"}, timeout=20)
    assert (refused.status_code, refused.text) == (403, "Forbidden by ASM Wasm Plugin")
    assert wrong.status_code == 403
    assert (allowed.status_code, allowed.text) == (200, "reached")
    assert "header-authorization: refused" in gateway.log
    assert "header-authorization: allowed" in gateway.log


def test_the_shared_token_lets_in_who_has_it(
    modules: dict[str, builder.Built], gateway: plain_envoy.PlainGateway
) -> None:
    """The configuration of the example's manifest, with a value from the Secret: only its token opens the gateway."""
    manifest = yaml.safe_load((EXAMPLES / "shared-token" / "pluginrelease.yaml").read_text())
    written = api.Spec.model_validate(manifest["spec"]).plugin
    filled = config_values.fill(written, ConfigValues("", (config_values.found("opens"),)))
    url = gateway.serve("token", modules["shared-token"].path, json.dumps(istio.configuration(filled)))
    asked = [requests.get(url, headers={"x-token": token}, timeout=20) for token in ("opens", "open", "")]
    assert [answer.status_code for answer in asked] == [200, 403, 403]
    assert requests.get(url, timeout=20).status_code == 403


def test_the_shared_token_does_not_start_without_one(
    modules: dict[str, builder.Built], gateway: plain_envoy.PlainGateway
) -> None:
    """An empty Secret opens nothing: the plugin refuses its configuration."""
    with pytest.raises(plain_envoy.NotTaken, match=NEEDS_TOKEN):
        gateway.serve("no-token", modules["shared-token"].path, '{"header": "x-token", "token": ""}')


def test_the_versioned_plugin_tells_its_configured_version(
    modules: dict[str, builder.Built], gateway: plain_envoy.PlainGateway
) -> None:
    """x-plugin-version is the configuration's version where there is one."""
    url = gateway.serve("configured", modules["versioned"].path, '{"version": "v7"}')
    assert requests.get(url, timeout=20).headers["x-plugin-version"] == "v7"


def test_new_bytes_of_the_same_size_are_another_version(
    modules: dict[str, builder.Built], gateway: plain_envoy.PlainGateway, tmp_path: Path
) -> None:
    """The stamp stands in the module once and in one piece, so replacing it makes a new version without a build."""
    old = modules["versioned"].path.read_bytes()
    stamped = old.replace(b"version-stamp:0000000000000000", b"version-stamp:00000000cafe0001")
    assert old.count(b"version-stamp:") == 1
    module = tmp_path / "new.wasm"
    module.write_bytes(stamped)
    url = gateway.serve("stamped", module)
    assert requests.get(url, timeout=20).headers["x-plugin-version"] == "00000000cafe0001"


def test_a_plugin_that_refuses_its_config_is_refused_by_envoy(
    modules: dict[str, builder.Built], gateway: plain_envoy.PlainGateway
) -> None:
    """The fixture does what it is for: Envoy refuses it with {"fail": true}, and takes it with anything else."""
    url = gateway.serve("content", modules["refuses-config"].path, "{}")
    assert requests.get(url, timeout=20).headers["x-plugin"] == "refuses-config"
    with pytest.raises(plain_envoy.NotTaken, match=ASKED_TO_FAIL):
        gateway.serve("refusing", modules["refuses-config"].path, '{"fail": true}')


def test_a_renamed_abi_is_unknown_to_envoy(
    modules: dict[str, builder.Built], gateway: plain_envoy.PlainGateway, tmp_path: Path
) -> None:
    """The only thing that `rename_abi` changes is the announced version: Envoy refuses that, and nothing else."""
    real = modules["header-authorization"].path.read_bytes()
    module = tmp_path / "renamed.wasm"
    module.write_bytes(wasm_modules.rename_abi(real, "9_9_9"))
    with pytest.raises(plain_envoy.NotTaken, match=UNKNOWN_ABI):
        gateway.serve("renamed", module)


def test_what_is_built_is_what_is_reported(modules: dict[str, builder.Built]) -> None:
    """Path, SHA-256 and size are those of the file, and its toolchain can be read from it."""
    built = modules["header-authorization"]
    data = built.path.read_bytes()
    assert (built.size, built.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    module = wasm.read(data)
    assert (module.abi, module.toolchain, module.toolchain_version) == ("0_2_0", "Go", built.go)
    assert "name" in module.custom_sections


def test_the_same_source_gives_the_same_bytes(modules: dict[str, builder.Built], tmp_path: Path) -> None:
    """A build depends on the source, not on where it lies or when: its digest means something."""
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for file in ("main.go", "go.mod", "go.sum"):
        (copy / file).write_bytes((EXAMPLE / file).read_bytes())
    again = builder.compile_go(copy, tmp_path / "out" / "plugin.wasm")
    assert again.sha256 == modules["header-authorization"].sha256


GO_MOD = "module example.org/plugin\n\ngo 1.24\n"
MAIN = "package main\n\nfunc main() {}\n"


@pytest.mark.parametrize(
    ("files", "reason", "words"),
    [
        ({}, "SourceMissing", "/plugin"),
        ({"main.go": MAIN}, "NoGoModule", "mod init"),
        ({"go.mod": GO_MOD, "a.go": "package other\n"}, "NotMainPackage", "package other"),
        ({"go.mod": GO_MOD, "main.go": "package main\n\nfunc main() { nowhere() }\n"}, "CompileFailed", "undefined"),
        (
            {"go.mod": GO_MOD, "main.go": 'package main\n\nimport _ "example.org/sdk"\n\nfunc main() {}\n'},
            "CompileFailed",
            "mod tidy",
        ),
        ({"go.mod": GO_MOD.replace("1.24", "1.99"), "main.go": MAIN}, "CompileFailed", "1.99"),
        ({"go.mod": GO_MOD, "main.go": MAIN}, "NotAPlugin", builder.SDK),
        (
            {"go.mod": GO_MOD, "main.go": "package main\n\nfunc main() {\n\tproxywasm.SetVMContext(nil)\n}\n"},
            "SetUpInMain",
            "func init()",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_a_mistake_is_told_with_its_remedy(tmp_path: Path, files: dict[str, str], reason: str, words: str) -> None:
    """Each mistake that can be seen has its own reason, the compiler's own line where it said one, and what to do."""
    source = tmp_path / "plugin"
    source.mkdir()
    for name, text in files.items():
        (source / name).write_text(text)
    output = tmp_path / "plugin.wasm"
    output.write_bytes(b"the last good one")
    with pytest.raises(Refused) as refused:
        builder.compile_go(source, output)
    assert refused.value.reason == reason
    assert words in refused.value.sentence()
    assert output.read_bytes() == b"the last good one"
    assert not list(tmp_path.glob(".build-*"))


def test_a_build_ends_at_its_deadline(tmp_path: Path) -> None:
    """A build that takes too long is stopped and may be tried again; nothing half-written is left."""
    with pytest.raises(Transient) as late:
        builder.compile_go(EXAMPLE, tmp_path / "plugin.wasm", deadline=0.0)
    assert late.value.reason == "BuildTimeout"
    assert not list(tmp_path.iterdir())


def test_the_size_limit_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that no gateway would read is refused here, with both numbers."""
    monkeypatch.setattr(builder, "SIZE_LIMIT", 1000)
    with pytest.raises(Refused, match="1000") as refused:
        builder.compile_go(EXAMPLE, tmp_path / "plugin.wasm")
    assert refused.value.reason == "ModuleTooLarge"


def test_the_command_prints_what_was_built(tmp_path: Path) -> None:
    """`pluginrelease build DIR -o FILE` writes the module and prints its path, size and SHA-256."""
    output = tmp_path / "out.wasm"
    result = click.testing.CliRunner().invoke(build_command, [str(EXAMPLE), "-o", str(output)])
    assert result.exit_code == 0, result.output
    data = output.read_bytes()
    assert f"built {output}" in result.output
    assert f"{len(data)} bytes" in result.output
    assert hashlib.sha256(data).hexdigest() in result.output


def test_the_module_goes_where_the_reader_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the examples have it: `-o plugin.wasm` is a file beside the reader, and nothing is left beside the source."""
    before = sorted(EXAMPLE.iterdir())
    monkeypatch.chdir(tmp_path)
    result = click.testing.CliRunner().invoke(build_command, [str(EXAMPLE), "-o", "plugin.wasm"])
    assert result.exit_code == 0, result.output
    assert [file.name for file in tmp_path.iterdir()] == ["plugin.wasm"]
    assert sorted(EXAMPLE.iterdir()) == before


def test_the_command_fails_with_the_reason(tmp_path: Path) -> None:
    """A refused build ends with a non-zero exit code and one message: no traceback."""
    result = click.testing.CliRunner().invoke(build_command, [str(tmp_path), "-o", str(tmp_path / "out.wasm")])
    assert result.exit_code == 1
    assert "Error: SourceMissing" in result.output
