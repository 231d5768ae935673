"""Credentials for a registry, out of the bytes of a ``.dockerconfigjson``.

All forms that such a file has (docker/cli, cli/config/types/authconfig.go): ``auth``, ``username`` with ``password``,
``identitytoken``, ``registrytoken``; keys with or without scheme, path and Docker Hub's old address. Credential
helpers are programs on somebody's machine and are not run.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from pluginrelease.core import registries
from pluginrelease.core.artifact import Reference
from pluginrelease.core.errors import Refused

MAX_SECRET_BYTES = 1024 * 1024  # what an API server lets a Secret have


@dataclass(frozen=True)
class Credentials:
    """What to show a registry. ``refresh_token`` is exchanged for tokens (OAuth 2), ``bearer`` is shown as it is."""

    username: str = ""
    password: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of a Basic Authorization header, without the word Basic."""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def find(raw: bytes, reference: Reference) -> Credentials | None:
    """The credentials for a reference: the entry with the longest matching key, None if there is none.

    Raises `Refused` (``InvalidPullSecret``) if the bytes are not a ``.dockerconfigjson`` or the entry is unusable.
    """
    auths = _auths(raw)
    matching = [key for key in auths if registries.covers(key, reference)]
    if not matching:
        return None
    return _credentials(max(matching, key=lambda key: len(registries.plain(key))), auths)


def hosts(raw: bytes) -> tuple[str, ...]:
    """The registries that the bytes have entries for, to be named in a message. Raises as `find` does."""
    return tuple(sorted({registries.plain(key)[:100] for key in _auths(raw)}))


def _invalid(what: str) -> NoReturn:
    raise Refused(
        "InvalidPullSecret",
        f"The pull secret cannot be used: {what}",
        "Make it with `kubectl create secret docker-registry NAME --docker-server=… --docker-username=… "
        "--docker-password=…`.",
    )


def _auths(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_SECRET_BYTES:
        _invalid(f"its .dockerconfigjson is larger than {MAX_SECRET_BYTES} bytes")
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        _invalid("its .dockerconfigjson is not JSON")
    if not isinstance(content, dict):
        _invalid("its .dockerconfigjson is not a JSON object")
    auths = content.get("auths")
    if auths is None and (content.get("credHelpers") or content.get("credsStore")):
        _invalid("it names a credential helper in place of credentials")
    if not isinstance(auths, dict):
        _invalid('its .dockerconfigjson has no "auths"')
    return auths


def _credentials(key: str, auths: dict[str, Any]) -> Credentials | None:
    entry = auths[key]
    if not isinstance(entry, dict):
        _invalid(f"its entry for {registries.plain(key)} is not an object")
    text = {name: _text(entry, name, key) for name in ("username", "password", "identitytoken", "registrytoken")}
    auth = _text(entry, "auth", key)
    if auth:
        text["username"], text["password"] = _decode(auth, key)
    if text["username"] == "<token>" and not text["identitytoken"]:  # how docker marks an identity token
        text["identitytoken"] = text["password"]
    if not any(text.values()):
        return None
    return Credentials(text["username"], text["password"], text["identitytoken"], text["registrytoken"])


def _text(entry: dict[str, Any], name: str, key: str) -> str:
    value = entry.get(name) or ""
    if not isinstance(value, str) or re.search(r"[\r\n\0]", value):
        _invalid(f"the {name!r} of its entry for {registries.plain(key)} is not a line of text")
    return value


def _decode(auth: str, key: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(auth, validate=True).decode().rstrip("\0")
    except (binascii.Error, ValueError):
        _invalid(f'the "auth" of its entry for {registries.plain(key)} is not base64 of user:password')
    user, colon, password = text.partition(":")
    if not colon or re.search(r"[\r\n\0]", text):
        _invalid(f'the "auth" of its entry for {registries.plain(key)} is not base64 of user:password')
    return user, password
