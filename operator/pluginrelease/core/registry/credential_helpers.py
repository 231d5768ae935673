"""Credential helpers: which one docker's config.json names for a registry, and how to read its answer.

Sources: docker/cli, cli/config/configfile/file.go (``credHelpers`` before ``credsStore``) and
cli/config/credentials/native_store.go (the user ``<token>``); docker/docker-credential-helpers, client/client.go and
credentials/error.go. The command line runs them on a user's machine. The operator runs none, and neither do gateways.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact.image_manifests import DOCKER_HUB, Reference
from pluginrelease.core.errors import Refused
from pluginrelease.core.registry import allowlist
from pluginrelease.core.registry.credentials import HUB_KEY, Credentials, is_text

JSON = dict[str, Any]

MAX_ANSWER_BYTES = 64 * 1024
MAX_WORDS = 200
IDENTITY_TOKEN = "<token>"  # noqa: S105  the user that docker gives an identity token
_NONE = "credentials not found"
_LOGIN = "Log in again with what keeps it (`docker login`, `gcloud auth login`, `aws sso login` …)"


@dataclass(frozen=True)
class Helper:
    """A helper by its short name, and the server address that it is asked for."""

    name: str
    server: str

    @property
    def program(self) -> str:
        """Return the program to search on PATH."""
        return f"docker-credential-{self.name}"


def find_helper(config: JSON, reference: Reference) -> Helper | None:
    """Return the helper that has the credentials for a registry; None if the file itself has them.

    Raises `Refused` (``InvalidDockerConfig``) for a name that cannot be a program.
    """
    server = HUB_KEY if reference.registry == DOCKER_HUB else reference.registry
    helpers = config.get("credHelpers")
    chosen = config.get("credsStore")
    if isinstance(helpers, dict):
        mine = [value for key, value in helpers.items() if allowlist.strip_scheme(key) == reference.registry]
        chosen = mine[0] if mine else chosen
    if not chosen:
        return None
    if not isinstance(chosen, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", chosen):
        raise Refused(
            Reason.INVALID_DOCKER_CONFIG,
            f"the docker config names a credential helper for {server} whose name cannot be a program's",
            "Correct credsStore or credHelpers in it",
        )
    return Helper(chosen, server)


def read_answer(helper: Helper, code: int, out: bytes, words: bytes) -> Credentials | None:
    """Return the credentials that a helper printed; None if it has none.

    ``out`` is its standard output, ``words`` its message for people. Raises `Refused` (``CredentialHelperFailed``); the
    message contains nothing that could be a secret.
    """
    if code != 0:
        if _NONE in (out + words).decode(errors="replace").lower():
            return None
        raise refuse_failed(helper, f"ended with code {code}{_quote(out, words)}")
    try:
        found = json.loads(out)
        username, secret = found["Username"], found["Secret"]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise refuse_failed(helper, "wrote no JSON with Username and Secret") from None
    if not is_text(username) or not is_text(secret):
        raise refuse_failed(helper, "wrote a Username or a Secret that is no text")
    if not secret:
        return None
    if username == IDENTITY_TOKEN:
        return Credentials(refresh_token=secret)
    return Credentials(username, secret)


def refuse_failed(helper: Helper, what: str) -> Refused:
    """Return the error for a helper that failed."""
    return Refused(Reason.CREDENTIAL_HELPER_FAILED, f"{helper.program}, asked for {helper.server}, {what}", _LOGIN)


def refuse_missing(helper: Helper, config: str) -> Refused:
    """Return the error for a helper that is not installed."""
    return Refused(
        Reason.CREDENTIAL_HELPER_MISSING,
        f"{config} keeps the credentials for {helper.server} in {helper.program}, which is not on PATH",
        f"Install it, or name a file that has them itself with --docker-config "
        f"(`docker --config DIR login {helper.server}`)",
    )


def _quote(out: bytes, words: bytes) -> str:
    """Quote a helper's message, unless it looks like a result."""
    text = words.strip() or out.strip()
    if not text or b"{" in text:
        return ""
    flat = re.sub(r"[^ -~]+", " ", text.decode(errors="replace"))
    return f": {' '.join(flat.split())[:MAX_WORDS]}"
