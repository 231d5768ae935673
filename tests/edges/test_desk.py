"""What a person is logged in with: a config.json and the credential helpers that it names, on a real registry."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pluginrelease.cli import main
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import Refused
from pluginrelease.core.registry import credentials
from pluginrelease.edges.desk import Desk
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from tests.edges.real_registry import PASSWORD, USER, Real, as_tester, secret
from tests.edges.scripted import WASM, Request, ScriptedAnswer, good, serving

# of a helper's answer, which has the key Secret
FIELDS_OF_A_HELPER = "username and secret"

KNOWN = json.dumps({"ServerURL": "", "Username": USER, "Secret": PASSWORD})


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts ``docker-credential-test`` on PATH: a shell script; it notes how it was called in the file that is given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(body: str) -> Path:
        notes = tmp_path / "notes"
        program = folder / "docker-credential-test"
        program.write_text(f'#!/bin/sh\n{{ echo "args: $*"; cat; echo; env; }} >> {notes}\n{body}\n')
        program.chmod(0o755)
        return notes

    return make


@pytest.fixture
def image(private: Real, tmp_path: Path) -> str:
    """In a registry that wants a password."""
    file = tmp_path / "plugin.wasm"
    file.write_bytes(WASM)
    registry.push(private.reference("team/desk:1"), file, as_tester(private.host))
    return f"{private.host}/team/desk:1"


def config(tmp_path: Path, **content: Any) -> Path:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(content))
    return file


def run(*arguments: str, file: Path) -> Result:
    return CliRunner().invoke(main, [*arguments, "--insecure", "--docker-config", str(file)])


def prints(text: str) -> str:
    return f"cat <<'END'\n{text}\nEND"


def test_every_command(private: Real, image: str, helper: Callable[[str], Path], tmp_path: Path) -> None:
    """Who is logged in by a helper needs nothing else: not for a look, a copy, a push, nor to lint a manifest."""
    notes = helper(prints(KNOWN))
    file = config(tmp_path, auths={private.host: {}}, credsStore="test")
    manifest = tmp_path / "release.json"
    manifest.write_text(json.dumps(a_release({"ref": image, "insecure": True})))
    for arguments in (
        ("inspect", image),
        ("copy", image, f"{private.host}/team/desk:copied"),
        ("push", str(tmp_path / "plugin.wasm"), f"{private.host}/team/desk:pushed"),
        ("lint", "--online", str(manifest)),
    ):
        ended = run(*arguments, file=file)
        assert ended.exit_code == 0, (arguments, ended.output)
        assert PASSWORD not in ended.output
    said = notes.read_text()
    assert said.count("args: get\n") == said.count("args: ")
    assert f"args: get\n{private.host}\n" in said
    assert PASSWORD not in said


def a_release(image: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "pluginrelease.io/v1alpha1",
        "kind": "PluginRelease",
        "metadata": {"name": "desk", "namespace": "team"},
        "spec": {
            "artifact": {"image": image},
            "provider": "Istio",
            "gateways": [{"name": "public", "namespace": "team", "selector": {"matchLabels": {"a": "b"}}}],
            "plugin": {},
        },
    }


def test_the_registrys_own_helper(private: Real, image: str, helper: Callable[[str], Path], tmp_path: Path) -> None:
    """credHelpers goes before credsStore, whose program need not even be there."""
    helper(prints(KNOWN))
    file = config(tmp_path, credHelpers={private.host: "test"}, credsStore="absent")
    assert run("inspect", image, file=file).exit_code == 0


def test_dockers_own_file(image: str, helper: Callable[[str], Path], tmp_path: Path, monkeypatch: Any) -> None:
    """The helper is found in the file that docker itself reads, which need not have any auths."""
    helper(prints(KNOWN))
    config(tmp_path, credsStore="test")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert CliRunner().invoke(main, ["inspect", image, "--insecure"]).exit_code == 0


def test_a_public_image_needs_no_helper(plain: Real, helper: Callable[[str], Path], tmp_path: Path) -> None:
    """A keychain that is locked, or a helper that is not there, keeps nobody from what everybody may have."""
    (tmp_path / "plugin.wasm").write_bytes(WASM)
    notes = helper("exit 1")
    for store in ("test", "absent"):
        file = config(tmp_path, credsStore=store)
        assert run("push", str(tmp_path / "plugin.wasm"), f"{plain.host}/desk:1", file=file).exit_code == 0
    assert not notes.exists()


def test_the_files_own_entry_where_the_helper_has_none(
    private: Real, image: str, helper: Callable[[str], Path], tmp_path: Path
) -> None:
    """Who wrote an entry by hand beside a credsStore is let in by it."""
    helper("echo 'credentials not found in native keychain'; exit 1")
    file = config(tmp_path, credsStore="test", **json.loads(secret(private.host)))
    assert run("inspect", image, file=file).exit_code == 0


@pytest.mark.parametrize(
    ("content", "body", "reason", "words"),
    [
        ({"credsStore": "absent"}, "", "CredentialHelperMissing", "docker-credential-absent"),
        ({"credsStore": "test"}, "echo 'locked' >&2; exit 3", "CredentialHelperFailed", "3: locked"),
        ({"credsStore": "test"}, "echo nonsense", "CredentialHelperFailed", "JSON"),
        ({"credsStore": "test"}, f"{prints(KNOWN)}\nexit 1", "CredentialHelperFailed", "code 1"),
        ({"credsStore": "test"}, "head -c 1000000 /dev/zero", "CredentialHelperFailed", "65536 bytes"),
        (
            {"credsStore": "test"},
            "echo 'credentials not found'; exit 1",
            "AuthenticationRequired",
            "docker-credential-test",
        ),
        ({"credsStore": "../x"}, "", "InvalidDockerConfig", "docker config"),
        ({"auths": {"other.example.com": {}}}, "", "AuthenticationRequired", "other.example.com"),
        ({}, "", "AuthenticationRequired", "config.json"),
        ({"credsStore": "test"}, prints(KNOWN.replace(PASSWORD, "wrong")), "AuthenticationFailed", "refuses"),
        ({"auths": {"HOST": {"auth": "?"}}}, "", "InvalidDockerConfig", "config.json"),
    ],
)
def test_no_way_in(
    content: dict[str, Any],
    body: str,
    reason: str,
    words: str,
    private: Real,
    image: str,
    helper: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """It is said which file or helper lacks what, and nobody at a terminal hears of a pull secret."""
    helper(body)
    known = json.loads(json.dumps(content).replace("HOST", private.host))
    ended = run("push", str(tmp_path / "plugin.wasm"), image, file=config(tmp_path, **known))
    assert ended.exit_code == 1
    assert f"{reason}: " in ended.stderr
    assert words in ended.stderr
    assert PASSWORD not in ended.output
    assert "secret" not in ended.stderr.lower().replace(FIELDS_OF_A_HELPER, "")


def test_a_helper_that_does_not_end(private: Real, image: str, helper: Callable[[str], Path], tmp_path: Path) -> None:
    """One that waits for somebody who is not there is ended in time; what it has started is not waited for."""
    helper("sleep 60 &\nsleep 60")
    desk = Desk(tmp_path / "config.json", {"credsStore": "test"}, seconds=0.5)
    began = time.monotonic()
    with pytest.raises(Refused) as raised:
        registry.resolve(image_manifests.parse(image), Access(insecure=True, desk=desk))
    assert raised.value.reason == "CredentialHelperFailed"
    assert " 0.5 s" in raised.value.message
    assert time.monotonic() - began < 20


def test_a_helper_that_leaves_something_running(image: str, helper: Callable[[str], Path], tmp_path: Path) -> None:
    """An agent that a helper starts, and that keeps its pipes, holds nobody up for long."""
    helper(f"{prints(KNOWN)}\nsleep 30 >/dev/null &")
    assert run("inspect", image, file=config(tmp_path, credsStore="test")).exit_code == 0


def test_a_helper_is_asked_once(image: str, helper: Callable[[str], Path], tmp_path: Path) -> None:
    """A command that asks the registry five times asks the person's keychain once."""
    notes = helper(prints(KNOWN))
    assert run("inspect", image, "--for", "istio@1.31", file=config(tmp_path, credsStore="test")).exit_code in (0, 1)
    assert notes.read_text().count("args: ") == 1


def test_an_identity_token(helper: Callable[[str], Path], tmp_path: Path) -> None:
    """What docker keeps for the user <token> is exchanged for a token, and is no password."""
    helper(prints(json.dumps({"Username": "<token>", "Secret": "planted-identity"})))

    def script(asked: Request) -> ScriptedAnswer:
        if asked.path == "/token":
            right = b"refresh_token=planted-identity" in asked.body and asked.method == "POST"
            return ScriptedAnswer(200, b'{"access_token":"let-in"}') if right else ScriptedAnswer(403)
        if asked.headers.get("Authorization") != "Bearer let-in":
            realm = f'Bearer realm="http://{asked.headers["Host"]}/token",service="x"'
            return ScriptedAnswer(401, b"", {"WWW-Authenticate": realm})
        return good(asked)

    with serving() as start:
        server = start(script)
        ended = run("inspect", f"{server.host}/team/plugin:1", file=config(tmp_path, credsStore="test"))
    assert ended.exit_code == 0, ended.output
    assert "planted" not in ended.output


@pytest.mark.parametrize(
    "content",
    [
        {"credsStore": "test"},
        {"auths": {"registry.example.com": {}}, "credsStore": "test"},
        {"credHelpers": {"registry.example.com": "test"}},
        {"auths": {"registry.example.com": {}}, "credHelpers": {"registry.example.com": "test"}},
    ],
)
def test_the_operator_runs_no_helper(content: dict[str, Any], helper: Callable[[str], Path]) -> None:
    """A pull secret that was made of a desk's config.json says what is wrong with it, and starts no program."""
    notes = helper(prints(KNOWN))
    with pytest.raises(Refused) as raised:
        credentials.render_for_agent(
            json.dumps(content).encode(), image_manifests.parse("registry.example.com/team/plugin:1")
        )
    assert raised.value.reason == "InvalidPullSecret"
    assert "helper" in raised.value.message
    assert "test" in raised.value.message
    assert not notes.exists()
