"""Tokens and passwords for one registry, and why the registry refuses them."""

from __future__ import annotations

import json as jsonlib
import re
from contextlib import suppress
from urllib.parse import urlsplit

import requests
import requests.adapters
import requests.utils

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused, Transient
from pluginrelease.core.registry import challenge as challenges
from pluginrelease.core.registry import credentials
from pluginrelease.edges.oci import failures
from pluginrelease.edges.oci.exchange import Exchange

MAX_TOKEN_BYTES = 1024 * 1024


class Authorization:
    """Answers to a registry's challenges in one call, by action: pull, push."""

    def __init__(self, exchange: Exchange, scheme: str) -> None:
        self._exchange = exchange
        self._reference = exchange.reference
        self._access = exchange.access
        self._scheme = scheme
        self._headers: dict[str, str] = {}
        self._credentials: credentials.Credentials | None = None
        if self._access.dockerconfigjson is not None:
            self._credentials = credentials.find(self._access.dockerconfigjson, self._reference)

    def recall(self, action: str) -> str | None:
        """Return the Authorization header that this call already has for the action."""
        return self._headers.get(action)

    def answer(self, response: requests.Response, action: str) -> str:
        """Return the Authorization header that answers a 401, and keep it for the next request of this action."""
        self._headers[action] = header = self._authorize(response, action)
        return header

    def _authorize(self, response: requests.Response, action: str) -> str:
        """Return the Authorization header that answers a 401, or raise the error that says who must act."""
        offered = challenges.read(challenge_values(response))
        said = failures.quote(response)
        if self._credentials is None and self._access.desk is not None:
            self._credentials = self._access.desk.find(self._reference)
        bearer = next((challenge for challenge in offered if challenge.scheme == "bearer"), None)
        if self._credentials and self._credentials.bearer:
            return f"Bearer {self._credentials.bearer}"
        if bearer is not None:
            return f"Bearer {self._fetch_token(bearer, action)}"
        if self._credentials and any(challenge.scheme == "basic" for challenge in offered):
            return f"Basic {self._credentials.basic}"
        raise self.deny(said)

    def _fetch_token(self, bearer: challenges.Challenge, action: str) -> str:
        """Ask the realm for a token (distribution/distribution, docs: spec/auth/token and spec/auth/oauth)."""
        self._check_realm(bearer.realm)
        actions = "pull" if action == "pull" else "pull,push"
        scope = bearer.parameters.get("scope") or f"repository:{self._reference.repository}:{actions}"
        form = {"service": bearer.parameters.get("service", ""), "scope": scope}
        response = self._exchange.send(*self._build_token_request(bearer.realm, form))
        if response.status_code != 200:
            raise self.deny(failures.quote(response))
        raw = self._exchange.read(response, MAX_TOKEN_BYTES, "The registry's token")
        with suppress(ValueError, RecursionError):
            answer = jsonlib.loads(raw)
            token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
            if isinstance(token, str) and re.fullmatch(r"[\x21-\x7e]+", token):
                return token
        raise Transient(
            Reason.REGISTRY_UNAVAILABLE,
            f"The token service of the registry {self._reference.registry} answers without a token",
            "It is tried again; look at the registry's token service if this stays.",
        )

    def _build_token_request(
        self, realm: str, form: dict[str, str]
    ) -> tuple[str, str, dict[str, str] | None, dict[str, str]]:
        """Return method, URL, body and headers."""
        if self._credentials and self._credentials.refresh_token:
            form |= {"grant_type": "refresh_token", "refresh_token": self._credentials.refresh_token}
            return "POST", realm, form | {"client_id": "pluginrelease"}, {}
        headers = {"Authorization": f"Basic {self._credentials.basic}"} if self._credentials else {}
        url = requests.Request("GET", realm, params={k: v for k, v in form.items() if v}).prepare().url
        return "GET", str(url), None, headers

    def _check_realm(self, realm: str) -> None:
        reason = "" if self._access.allow_private_realms else challenges.find_objection(realm)
        if not reason and urlsplit(realm).scheme not in ("https", self._scheme):
            reason = "it would send credentials over plain http"
        if reason:
            raise Refused(
                Reason.REGISTRY_CHALLENGE_REFUSED,
                f"The registry {self._reference.registry} asks to fetch tokens from {realm[:100]!r}: {reason}",
                "Set the registry's token realm to an https URL with a public host name.",
            )

    def deny(self, said: str) -> Refused:
        """Return the error for an answer 401 or 403. ``said``: the registry's own words."""
        registry, name = self._reference.registry, self._reference.name
        if self._credentials is not None:
            ends = " (the password ends with a line break)" if self._credentials.password.endswith("\n") else ""
            return Refused(
                Reason.AUTHENTICATION_FAILED,
                f"The registry {registry} refuses the credentials given for {name}{ends}{said}",
                "Put credentials that may read (to push: write) this repository into the pull secret.",
            )
        return Refused(
            Reason.AUTHENTICATION_REQUIRED,
            f"The registry {registry} wants credentials for {name}, or has no such repository, and "
            f"{self._explain_lack()}{said}",
            "Name a secret of type kubernetes.io/dockerconfigjson with an entry for this registry in "
            "spec.artifact.image.pullSecretRef, and check the repository's name.",
        )

    def _explain_lack(self) -> str:
        """Return why there are no credentials."""
        if self._access.desk is not None:
            return self._access.desk.why_none(self._reference)
        secret = self._access.dockerconfigjson
        if secret is None:
            return "none were given"
        return f"the pull secret has no entry for it (it has {', '.join(credentials.list_hosts(secret)) or 'nothing'})"


def challenge_values(response: requests.Response) -> tuple[str, ...]:
    """Return every WWW-Authenticate header separately; requests would join them."""
    return tuple(response.raw.headers.getlist("WWW-Authenticate"))
