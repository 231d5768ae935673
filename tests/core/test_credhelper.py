"""Which credential helper a config.json names for a registry, and what one's answer means."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import Refused
from pluginrelease.core.registry import credential_helpers
from pluginrelease.core.registry.credential_helpers import Helper
from pluginrelease.core.registry.credentials import HUB_KEY, Credentials

HELPER = Helper("desktop", "ghcr.io")
SECRET = "planted-secret"


def said(username: Any = "me", secret: Any = SECRET) -> bytes:
    return json.dumps({"ServerURL": "ghcr.io", "Username": username, "Secret": secret}).encode()


@pytest.mark.parametrize(
    ("config", "ref", "named", "reason"),
    [
        ({}, "ghcr.io/a/b:1", None, "the file has its entries itself"),
        ({"auths": {"ghcr.io": {}}, "credsStore": "desktop"}, "ghcr.io/a/b:1", HELPER, "a Mac's, for every registry"),
        (
            {"credHelpers": {"ghcr.io": "gh"}, "credsStore": "desktop"},
            "ghcr.io/a/b:1",
            Helper("gh", "ghcr.io"),
            "its own",
        ),
        (
            {"credHelpers": {"gcr.io": "gcloud"}, "credsStore": "desktop"},
            "ghcr.io/a/b:1",
            HELPER,
            "another's is not it",
        ),
        ({"credHelpers": {"gcr.io": "gcloud"}}, "ghcr.io/a/b:1", None, "only for another"),
        ({"credHelpers": {"ghcr.io": ""}, "credsStore": "desktop"}, "ghcr.io/a/b:1", None, "this one has none"),
        ({"credHelpers": {"https://ghcr.io": "gh"}}, "ghcr.io/a/b:1", Helper("gh", "ghcr.io"), "with a scheme"),
        ({"credHelpers": {"localhost:5000": "x"}}, "localhost:5000/a:1", Helper("x", "localhost:5000"), "with a port"),
        ({"credHelpers": {"localhost": "x"}}, "localhost:5000/a:1", None, "another port is another registry"),
        ({"credsStore": "desktop"}, "team/a:1", Helper("desktop", HUB_KEY), "Docker Hub has an old name"),
        ({"credHelpers": {HUB_KEY: "x"}}, "docker.io/team/a:1", Helper("x", HUB_KEY), "and is listed by it"),
        ({"credHelpers": ["x"], "credsStore": None}, "ghcr.io/a/b:1", None, "what is no list of helpers"),
    ],
)
def test_which_helper(config: dict[str, Any], ref: str, named: Helper | None, reason: str) -> None:
    """As docker does: credHelpers before credsStore, by the registry's name."""
    assert credential_helpers.find_helper(config, image_manifests.parse(ref)) == named, reason


@pytest.mark.parametrize("name", ["../../tmp/x", "a b", "-x", "x" * 200, "a;b", 7])
def test_a_name_of_no_program(name: object) -> None:
    """Nothing is run whose name is not a plain one."""
    with pytest.raises(Refused) as raised:
        credential_helpers.find_helper({"credsStore": name}, image_manifests.parse("ghcr.io/a:1"))
    assert raised.value.reason == "InvalidDockerConfig"


@pytest.mark.parametrize(
    ("code", "out", "words", "found", "reason"),
    [
        (0, said(), b"", Credentials("me", SECRET), "a user and a password"),
        (0, said("<token>"), b"", Credentials(refresh_token=SECRET), "an identity token"),
        (0, said(), b"warning: old version", Credentials("me", SECRET), "with a remark"),
        (0, said("", ""), b"", None, "an empty answer"),
        (1, b"credentials not found in native keychain\n", b"", None, "as docker's own say it"),
        (1, b"", b"Credentials Not Found", None, "as others do"),
    ],
)
def test_an_answer(code: int, out: bytes, words: bytes, found: Credentials | None, reason: str) -> None:
    """Credentials, an identity token, or none: that is no error, as many images are public."""
    assert credential_helpers.read_answer(HELPER, code, out, words) == found, reason


@pytest.mark.parametrize(
    ("code", "out", "words", "said_why"),
    [
        (1, b"", b"ERROR: run gcloud-login\x1b[0m", "gcloud-login"),
        (2, b"keychain locked", b"", "keychain locked"),
        (1, said(), b"", "code 1"),
        (0, b"", b"", "no JSON"),
        (0, SECRET.encode(), b"", "no JSON"),
        (0, b'{"Username":"me"}', b"", "no JSON"),
        (0, b"[" * 60_000, b"", "no JSON"),
        (0, said(7), b"", "no text"),
        (0, said("x\ud800"), b"", "no text"),
    ],
)
def test_a_failure(code: int, out: bytes, words: bytes, said_why: str) -> None:
    """It names the helper and what it said, and nothing that may be a secret."""
    with pytest.raises(Refused) as raised:
        credential_helpers.read_answer(HELPER, code, out, words)
    error = raised.value
    assert error.reason == "CredentialHelperFailed"
    assert "docker-credential-desktop" in error.message
    assert said_why in error.message
    assert SECRET not in error.sentence()
    assert "\x1b" not in error.sentence()


@given(st.integers(0, 255), st.binary(max_size=300), st.binary(max_size=300))
def test_whatever_it_says(code: int, out: bytes, words: bytes) -> None:
    """Any answer is credentials, none, or a failure."""
    with suppress(Refused):
        credential_helpers.read_answer(HELPER, code, out, words)
