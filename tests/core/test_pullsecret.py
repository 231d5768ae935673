"""Credentials out of a .dockerconfigjson: every form it has, the right entry, and no secret in any text."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from pluginrelease.core import artifact, pullsecret
from pluginrelease.core.errors import Refused

PLUGIN = artifact.parse("registry.example.com/team/plugin:1")
HUB = artifact.parse("team/plugin:1")


def config(**auths: Any) -> bytes:
    return json.dumps({"auths": auths}).encode()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"auth": encoded("me:secret")}, pullsecret.Credentials("me", "secret")),
        ({"auth": encoded("me:se:cr:et")}, pullsecret.Credentials("me", "se:cr:et")),
        ({"username": "me", "password": "secret"}, pullsecret.Credentials("me", "secret")),
        ({"auth": encoded("me:new"), "username": "x", "password": "old"}, pullsecret.Credentials("me", "new")),
        ({"identitytoken": "tok"}, pullsecret.Credentials(refresh_token="tok")),
        ({"auth": encoded("<token>:tok")}, pullsecret.Credentials("<token>", "tok", "tok")),
        ({"registrytoken": "tok"}, pullsecret.Credentials(bearer="tok")),
        ({}, None),
    ],
)
def test_forms(entry: dict[str, str], expected: pullsecret.Credentials | None) -> None:
    """Each form in which docker writes credentials is read; an entry of nothing is no credentials."""
    assert pullsecret.find(config(**{"registry.example.com": entry}), PLUGIN) == expected


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
def test_choice(keys: list[str], reference: artifact.Reference, chosen: str | None) -> None:
    """The longest key that is a whole part of the reference wins, in any spelling of the registry's name."""
    found = pullsecret.find(config(**{key: {"username": key, "password": "p"} for key in keys}), reference)
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
        config(**{"registry.example.com": {"auth": encoded("me:x\r\nHost: evil")}}),
        config(**{"registry.example.com": {"username": 1}}),
        b"[" * 100_000,
    ],
)
def test_unusable(raw: bytes) -> None:
    """What is not a usable .dockerconfigjson is refused with the command that makes one."""
    with pytest.raises(Refused) as refused:
        pullsecret.find(raw, PLUGIN)
    assert refused.value.reason == "InvalidPullSecret"
    assert "kubectl create secret docker-registry" in refused.value.remedy


def test_no_secret_in_a_repr() -> None:
    """Credentials may end up in a log by their repr; what is secret does not."""
    assert "hush" not in repr(pullsecret.Credentials("me", "hush", "hush", "hush"))
