"""Credentials out of a .dockerconfigjson: every form it has, the right entry, and no secret in any text."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import Refused
from pluginrelease.core.registry import credentials

PLUGIN = image_manifests.parse("registry.example.com/team/plugin:1")
HUB = image_manifests.parse("team/plugin:1")


def config(**auths: Any) -> bytes:
    return json.dumps({"auths": auths}).encode()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"auth": encoded("me:secret")}, credentials.Credentials("me", "secret")),
        ({"auth": encoded("me:se:cr:et")}, credentials.Credentials("me", "se:cr:et")),
        ({"username": "me", "password": "secret"}, credentials.Credentials("me", "secret")),
        ({"auth": encoded("me:new"), "username": "x", "password": "old"}, credentials.Credentials("me", "new")),
        ({"identitytoken": "tok"}, credentials.Credentials(refresh_token="tok")),
        ({"auth": encoded("<token>:tok")}, credentials.Credentials("<token>", "tok", "tok")),
        ({"registrytoken": "tok"}, credentials.Credentials(bearer="tok")),
        ({}, None),
    ],
)
def test_forms(entry: dict[str, str], expected: credentials.Credentials | None) -> None:
    """Each form in which docker writes credentials is read; an entry of nothing is no credentials."""
    assert credentials.find(config(**{"registry.example.com": entry}), PLUGIN) == expected


GOOGLE_KEY = (
    '{\n  "type": "service_account",\n  "private_key": "-----BEGIN NONE-----\\nMII\\n-----END NONE-----\\n"\n}\n'
)


@pytest.mark.parametrize("password", [GOOGLE_KEY, GOOGLE_KEY.replace("\n", "\r\n"), "from a file\n", "\n"])
@pytest.mark.parametrize("form", ["auth", "auth in lines", "password"])
def test_a_password_of_several_lines(password: str, form: str) -> None:
    """Google's JSON key is a password with line breaks: it is shown byte for byte, by the operator as by gateways."""
    auth = encoded(f"_json_key:{password}")
    entry = {
        "auth": {"auth": auth},
        "auth in lines": {"auth": base64.encodebytes(base64.b64decode(auth)).decode()},
        "password": {"username": "_json_key", "password": password},
    }[form]
    raw = config(**{"registry.example.com": entry})
    for read in (raw, credentials.render_for_agent(raw, PLUGIN)):
        found = credentials.find(read, PLUGIN)
        assert found is not None
        assert base64.b64decode(found.basic).decode() == f"_json_key:{password}"
        assert "\n" not in found.basic


@pytest.mark.parametrize(
    ("keys", "reference", "chosen"),
    [
        (["registry.example.com"], PLUGIN, "registry.example.com"),
        (["https://registry.example.com/v2/"], PLUGIN, "https://registry.example.com/v2/"),
        (["registry.example.com", "registry.example.com/team"], PLUGIN, "registry.example.com/team"),
        (["registry.example.com/team/plugin", "registry.example.com"], PLUGIN, "registry.example.com/team/plugin"),
        (["registry.example.com/te"], PLUGIN, None),
        (["registry.example.com:5000"], PLUGIN, None),
        (["example.com"], PLUGIN, None),
        (["https://index.docker.io/v1/"], HUB, "https://index.docker.io/v1/"),
        (["docker.io"], HUB, "docker.io"),
        (["registry-1.docker.io"], HUB, "registry-1.docker.io"),
        ([""], PLUGIN, None),
    ],
)
def test_choice(keys: list[str], reference: image_manifests.Reference, chosen: str | None) -> None:
    """The longest key that is a whole part of the reference wins, in any spelling of the registry's name."""
    found = credentials.find(config(**{key: {"username": key, "password": "p"} for key in keys}), reference)
    assert (found.username if found else None) == chosen


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        b"null",
        b"[]",
        b'{"registry.example.com": {"auth": "x"}}',
        b'{"auths": []}',
        b'{"credsStore": "desktop"}',
        config(**{"registry.example.com": "x"}),
        config(**{"registry.example.com": {"auth": "%%%"}}),
        config(**{"registry.example.com": {"auth": encoded("nocolon")}}),
        config(**{"registry.example.com": {"auth": encoded("me\r\nHost: evil:x")}}),
        config(**{"registry.example.com": {"auth": encoded("me:x\0y")}}),
        config(**{"registry.example.com": {"username": "me\n", "password": "x"}}),
        config(**{"registry.example.com": {"username": "me", "password": "x\0y"}}),
        config(**{"registry.example.com": {"identitytoken": "tok\r\nHost: evil"}}),
        config(**{"registry.example.com": {"registrytoken": "tok\n"}}),
        config(**{"registry.example.com": {"auth": encoded("<token>:tok\n")}}),
        config(**{"registry.example.com": {"username": 1}}),
        config(**{"registry.example.com": {"username": "me", "password": "x\ud800"}}),
        config(**{"registry.example.com": {"registrytoken": "tok\u20ac"}}),
        b"[" * 100_000,
    ],
)
def test_unusable(raw: bytes) -> None:
    """What is not a usable .dockerconfigjson is refused with the command that makes one."""
    with pytest.raises(Refused) as refused:
        credentials.find(raw, PLUGIN)
    assert refused.value.reason == "InvalidPullSecret"
    assert "kubectl create secret docker-registry" in refused.value.remedy


# --- as Istio's agent reads it ---

ME, YOU = {"auth": encoded("me:secret")}, {"auth": encoded("you:secret")}
HOST = "registry.example.com"
HUB_KEY = "https://index.docker.io/v1/"


@pytest.mark.parametrize(
    ("auths", "reference", "user", "reason"),
    [
        ({HOST: ME}, PLUGIN, "me", "the registry's own name"),
        ({f"https://{HOST}/v2/": ME}, PLUGIN, "me", "as a URL"),
        ({f"{HOST}/team": ME}, PLUGIN, "me", "a path is not looked at"),
        ({f"{HOST}/others": ME}, PLUGIN, "me", "not even another's"),
        ({HOST: ME, f"{HOST}/team": YOU}, PLUGIN, "me", "the registry's own name comes first"),
        ({f"{HOST}/a": ME, f"{HOST}/b": ME}, PLUGIN, "me", "any of them is the same"),
        ({f"{HOST}:5000": ME}, PLUGIN, None, "another port is another registry"),
        ({"other.example.com": ME}, PLUGIN, None, "another registry"),
        ({HUB_KEY: ME, "docker.io": YOU}, HUB, "me", "Docker Hub by its old address"),
    ],
)
def test_the_agents_choice(
    auths: dict[str, Any], reference: image_manifests.Reference, user: str | None, reason: str
) -> None:
    """The operator pulls with what gateways will show: another entry would prove nothing."""
    found = credentials.find(credentials.render_for_agent(config(**auths), reference), reference)
    assert (found.username if found else None) == user, reason


@pytest.mark.parametrize(
    ("raw", "reference", "words", "server"),
    [
        (config(**{f"{HOST}/a": ME, f"{HOST}/team": YOU}), PLUGIN, HOST, HOST),
        (
            config(**{"docker.io": ME}),
            HUB,
            "docker.io",
            HUB_KEY,
        ),
        (config(**{"https://index.docker.io": ME}), HUB, HUB_KEY, HUB_KEY),
        (json.dumps({"auths": {HOST: ME}, "credsStore": "desktop"}).encode(), PLUGIN, "helper 'desktop'", HOST),
        (json.dumps({"auths": {HOST: ME}, "credHelpers": {HOST: "gcr"}}).encode(), PLUGIN, "helper 'gcr'", HOST),
        (config(**{HOST: ME, "other.example.com": {"auth": "%%%"}}), PLUGIN, "other.example.com", ""),
        (config(**{HOST: ME, "other.example.com": {"auth": encoded(":x")}}), PLUGIN, "other.example.com", ""),
        (config(**{HOST: {"auth": encoded("<token>:tok")}}), PLUGIN, "identitytoken", ""),
    ],
)
def test_what_the_agent_cannot_use(raw: bytes, reference: image_manifests.Reference, words: str, server: str) -> None:
    """It is refused with the server's name as gateways look for it, although docker itself would take it."""
    with pytest.raises(Refused) as refused:
        credentials.render_for_agent(raw, reference)
    assert refused.value.reason == "InvalidPullSecret"
    assert words in refused.value.message
    assert f"--docker-server={server}" in refused.value.remedy
    assert "secret" not in refused.value.message.replace("pull secret", "")


def test_a_helper_of_another_registry() -> None:
    """What a helper has for another registry keeps nobody from this one's."""
    raw = json.dumps({"auths": {HOST: ME}, "credHelpers": {"other.example.com": "gcr"}}).encode()
    assert credentials.find(credentials.render_for_agent(raw, PLUGIN), PLUGIN) == credentials.Credentials(
        "me", "secret"
    )


def test_no_secret_in_a_repr() -> None:
    """Credentials may end up in a log by their repr; what is secret does not."""
    assert "hush" not in repr(credentials.Credentials("me", "hush", "hush", "hush"))
