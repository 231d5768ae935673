"""Read credentials for a registry from the bytes of a ``.dockerconfigjson``.

All forms of such a file are read (docker/cli, cli/config/types/authconfig.go): ``auth``, ``username`` with
``password``, ``identitytoken``, ``registrytoken``; keys with or without scheme, path and Docker Hub's old address.
Credential helpers are programs on a user's machine and are not run.

Istio's agent reads the same file in another way (istio pkg/wasm/imagefetcher.go, wasmKeyChain; docker/cli,
cli/config/configfile/file.go and cli/config/credentials/file_store.go). `render_for_agent` returns what it would use.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact.image_manifests import DOCKER_HUB, Reference
from pluginrelease.core.errors import Refused
from pluginrelease.core.registry import allowlist

MAX_SECRET_BYTES = 1024 * 1024  # the largest Secret that an API server accepts

HUB_KEY = "https://index.docker.io/v1/"  # google/go-containerregistry, pkg/authn/keychain.go, DefaultAuthKey


@dataclass(frozen=True)
class Credentials:
    """What to send to a registry. ``refresh_token`` is exchanged for tokens (OAuth 2); ``bearer`` is sent unchanged."""

    username: str = ""
    password: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """Return the value of a Basic Authorization header, without the word Basic."""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def find(raw: bytes, reference: Reference) -> Credentials | None:
    """Return the credentials for a reference from the entry with the longest matching key; None if there is none.

    Raises `Refused` (``InvalidPullSecret``) if the bytes are not a ``.dockerconfigjson`` or the entry is unusable.
    """
    auths = _auths(raw)
    matching = [key for key in auths if allowlist.covers(key, reference)]
    if not matching:
        return None
    return _credentials(max(matching, key=lambda key: len(allowlist.strip_scheme(key))), auths)


def render_for_agent(raw: bytes, reference: Reference) -> bytes:
    """Return a ``.dockerconfigjson`` with only the entry for the registry, so that Istio's agent uses it.

    The agent compares only the registry's host, and chooses at random if several entries have it. One unreadable entry
    keeps it from all others. It cannot use a credential helper. Bytes in which it finds nothing are returned unchanged.
    Raises `Refused` (``InvalidPullSecret``) if the agent's result would differ from `find`.
    """
    auths, key = _auths(raw), _agent_key(reference)
    _check_helpers(raw, key)
    read = {name: _find_as_agent(name, auths) for name in auths}
    names = [key] if key in auths else [name for name in auths if _host(name) == key]
    if not names:
        if find(raw, reference) is not None:
            _not_for_agents(key, f"it has {_list_keys(auths)}, and gateways look for {key}")
        return raw
    if any(read[name] != read[names[0]] for name in names):
        _not_for_agents(key, f"it has several entries for {key} ({_list_keys(names)}), and gateways take any of them")
    return json.dumps({"auths": {allowlist.strip_scheme(key): auths[names[0]]}}).encode()


def _agent_key(reference: Reference) -> str:
    return HUB_KEY if reference.registry == DOCKER_HUB else reference.registry


def _host(name: str) -> str:
    """Return a key without its scheme and its path, as docker/cli's ConvertToHostname does."""
    return re.sub(r"^[A-Za-z0-9+.-]+://", "", name).partition("/")[0]


def _find_as_agent(name: str, auths: dict[str, Any]) -> Credentials | None:
    found = _credentials(name, auths)
    entry = auths[name]
    if entry.get("auth") and found is not None and not found.username:
        _invalid(
            f'the "auth" of its entry for {allowlist.strip_scheme(name)[:100]} has no user, and gateways then read none'
        )
    if found is not None and found.username == "<token>" and not entry.get("identitytoken"):
        _invalid(
            f"its entry for {allowlist.strip_scheme(name)[:100]} has an identity token as a password, and gateways "
            "want it as identitytoken"
        )
    return found


def _check_helpers(raw: bytes, key: str) -> None:
    content = json.loads(raw)
    helpers = content.get("credHelpers")
    helper = (helpers.get(key) if isinstance(helpers, dict) else None) or content.get("credsStore")
    if helper:
        _not_for_agents(key, f"it names the credential helper {str(helper)[:60]!r}, which gateways do not have")


def _list_keys(names: Iterable[str]) -> str:
    shown = sorted(name[:100] for name in names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


def _not_for_agents(key: str, what: str) -> NoReturn:
    raise Refused(
        Reason.INVALID_PULL_SECRET,
        f"Gateways cannot use the pull secret: {what}",
        f"Make it with one entry for this registry: `kubectl create secret docker-registry NAME --docker-server={key} "
        "--docker-username=… --docker-password=…`.",
    )


def list_hosts(raw: bytes) -> tuple[str, ...]:
    """Return the registries that the bytes have entries for, for a message. Raises the same errors as `find`."""
    return tuple(sorted({allowlist.strip_scheme(key)[:100] for key in _auths(raw)}))


def _invalid(what: str) -> NoReturn:
    raise Refused(
        Reason.INVALID_PULL_SECRET,
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
        helper = str(content.get("credsStore") or content["credHelpers"])[:60]
        _invalid(f"it has a credential helper ({helper}) instead of credentials, and only a local docker runs helpers")
    if not isinstance(auths, dict):
        _invalid('its .dockerconfigjson has no "auths"')
    return auths


def _credentials(key: str, auths: dict[str, Any]) -> Credentials | None:
    entry = auths[key]
    if not isinstance(entry, dict):
        _invalid(f"its entry for {allowlist.strip_scheme(key)} is not an object")
    text = {name: _line(entry, name, key) for name in ("username", "identitytoken", "registrytoken")}
    if not text["registrytoken"].isascii():
        _invalid(f"the 'registrytoken' of its entry for {allowlist.strip_scheme(key)} is not ASCII, as a header is")
    text["password"] = _text(entry, "password", key)
    auth = _text(entry, "auth", key)
    if auth:
        text["username"], text["password"] = _decode(auth, key)
    if text["username"] == "<token>" and not text["identitytoken"]:  # how docker marks an identity token
        text["identitytoken"] = _line(text, "password", key)
    if not any(text.values()):
        return None
    return Credentials(text["username"], text["password"], text["identitytoken"], text["registrytoken"])


def _text(entry: dict[str, Any], name: str, key: str) -> str:
    """Return a password or token. It may have several lines, like Google's JSON key: Basic encodes it in base64."""
    value = entry.get(name) or ""
    if not is_text(value):
        _invalid(f"the {name!r} of its entry for {allowlist.strip_scheme(key)} is not text")
    return value


def is_text(value: object) -> bool:
    """Return True if it is text that can be sent: JSON may contain lone surrogates."""
    return isinstance(value, str) and not re.search(r"[\0\ud800-\udfff]", value)


def _line(entry: dict[str, Any], name: str, key: str) -> str:
    """Return a value that is sent in a header unchanged."""
    value = _text(entry, name, key)
    if re.search(r"[\r\n]", value):
        _invalid(f"the {name!r} of its entry for {allowlist.strip_scheme(key)} is not a line of text")
    return value


def _decode(auth: str, key: str) -> tuple[str, str]:
    """Return user and password of an ``auth``. It may have line breaks, because Go's base64 ignores them."""
    try:
        text = base64.b64decode(re.sub(r"[\r\n]", "", auth), validate=True).decode().rstrip("\0")
    except (binascii.Error, ValueError):
        _invalid(f'the "auth" of its entry for {allowlist.strip_scheme(key)} is not base64 of user:password')
    user, colon, password = text.partition(":")
    if not colon or re.search(r"[\r\n]", user) or "\0" in text:
        _invalid(f'the "auth" of its entry for {allowlist.strip_scheme(key)} is not base64 of user:password')
    return user, password
