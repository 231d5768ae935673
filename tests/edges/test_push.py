"""The command that pushes a module."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pluginrelease.cli import push as push_command
from pluginrelease.core.artifact import image_manifests
from pluginrelease.edges.oci import registry
from tests import wasm_modules as made
from tests.edges.real_registry import Real, secret
from tests.edges.registry_access import OPEN, failure


@pytest.fixture
def no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-docker"))


@pytest.mark.usefixtures("no_docker")
def test_push_command(plain: Real, file: Path) -> None:
    """The command prints the reference to put into a release: by digest."""
    result = CliRunner().invoke(push_command.command, [str(file), f"{plain.host}/cli:1", "--insecure"])
    assert result.exit_code == 0, result.output
    pinned = image_manifests.parse(result.stdout.strip())
    assert registry.fetch(pinned, OPEN).digest == pinned.digest
    as_json = CliRunner().invoke(push_command.command, [str(file), f"{plain.host}/cli:1", "--insecure", "-o", "json"])
    assert json.loads(as_json.stdout)["reference"] == str(pinned)
    assert json.loads(as_json.stdout)["abi"] == "0_2_1"


@pytest.mark.usefixtures("no_docker")
def test_push_command_refuses_what_is_no_module(plain: Real, tmp_path: Path) -> None:
    """A file that is not a module is not pushed."""
    text = tmp_path / "plugin.wasm"
    text.write_bytes(made.text_file())
    result = CliRunner().invoke(push_command.command, [str(text), f"{plain.host}/cli:text", "--insecure"])
    assert result.exit_code == 1
    assert "NotWasm" in result.stderr
    assert failure(plain.reference("cli:text")).reason == "ManifestNotFound"


@pytest.mark.usefixtures("no_docker")
def test_push_command_warns_of_an_unknown_abi(plain: Real, tmp_path: Path) -> None:
    """What every gateway would refuse is pushed with a warning."""
    odd = tmp_path / "plugin.wasm"
    odd.write_bytes(made.unknown_abi())
    result = CliRunner().invoke(push_command.command, [str(odd), f"{plain.host}/cli:odd", "--insecure"])
    assert result.exit_code == 0
    assert "UnknownABI" in result.stderr


def test_push_command_takes_docker_credentials(
    private: Real, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's docker login is used, from where docker keeps it or from a file that is named."""
    (tmp_path / "config.json").write_bytes(secret(private.host))
    arguments = [str(file), f"{private.host}/cli:1", "--insecure"]
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    refused = CliRunner().invoke(push_command.command, arguments)
    assert (refused.exit_code, "docker login" in refused.stderr) == (1, True)
    named = CliRunner().invoke(push_command.command, [*arguments, "--docker-config", str(tmp_path / "config.json")])
    assert named.exit_code == 0, named.output
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert CliRunner().invoke(push_command.command, arguments).exit_code == 0
