"""Requests to one registry in one call: redirects, retries, deadlines and limits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import requests.adapters
import requests.utils

from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.image_manifests import Reference
from pluginrelease.core.errors import Refused, Transient
from pluginrelease.core.registry import challenge as challenges
from pluginrelease.edges.oci import failures
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.oci.connections import Deadline

PIECE_BYTES = 65536
CONNECT_SECONDS = 10.0
READ_SECONDS = 20.0  # between two pieces of an answer
PAUSES = (0.5, 2.0)  # seconds before the second and the third attempt
MAX_REDIRECTS = 5


@dataclass(frozen=True)
class Exchange:
    """The requests of one call. ``origin``: the registry's own scheme and host; only it gets credentials."""

    reference: Reference
    access: Access
    deadline: Deadline
    session: requests.Session
    origin: str
    verify: bool | str

    def follow(
        self, method: str, url: str, data: Any, headers: dict[str, str], authorization: str | None = None
    ) -> requests.Response:
        """Send, and follow redirects of reads. Only the registry itself gets credentials."""
        for _ in range(MAX_REDIRECTS + 1):
            self._check_target(url)
            sent = dict(headers)
            if authorization and _split_origin(url) == _split_origin(self.origin):
                sent["Authorization"] = authorization
            response = self.send(method, url, data, sent)
            target = response.headers.get("Location", "")
            if response.status_code not in (301, 302, 303, 307, 308) or action_of(method) == "push" or not target:
                return response
            response.close()
            url = urljoin(url, target)
        raise Refused(
            Reason.REGISTRY_REDIRECT_REFUSED,
            f"The registry {self.reference.registry} redirects more than {MAX_REDIRECTS} times",
            "Check the proxies between this cluster and the registry.",
        )

    def _check_target(self, url: str) -> None:
        """Refuse a redirect to plain http or to an address that is not public, as a gateway does.

        Source: google/go-containerregistry, pkg/v1/remote/fetcher.go, checkRedirectSSRF.
        """
        target, own = urlsplit(url), urlsplit(self.origin)
        if target.scheme == own.scheme and target.hostname == own.hostname:
            return
        if target.scheme not in ("http", "https") or not target.hostname:
            raise self._sent_away(f"to a {target.scheme[:20]!r} address")
        if target.scheme == "http" and not self.access.insecure:
            raise self._sent_away("from https to plain http")
        if challenges.is_internal(target.hostname) and not self.access.allow_private_realms:
            raise self._sent_away("to a private, loopback or link-local address")

    def _sent_away(self, how: str) -> Refused:
        return Refused(
            Reason.REGISTRY_REDIRECT_REFUSED,
            f"The registry {self.reference.registry} sends its clients {how}",
            "Let the registry serve its blobs itself or from a public https address.",
        )

    def send(self, method: str, url: str, data: Any, headers: dict[str, str]) -> requests.Response:
        """Send again after an error that may end within this call: 429, 5xx, a broken connection."""
        for pause in PAUSES:
            wait = pause
            try:
                return self._send_once(method, url, data, headers)
            except Transient as error:
                wait = max(pause, error.retry_after or 0.0)
                if wait >= self.deadline.left():
                    raise
            except requests.ConnectionError as error:
                if isinstance(error, (requests.Timeout, requests.exceptions.SSLError)):
                    raise
                if wait >= self.deadline.left():
                    raise
            time.sleep(wait)
        return self._send_once(method, url, data, headers)

    def _send_once(self, method: str, url: str, data: Any, headers: dict[str, str]) -> requests.Response:
        if self.deadline.expired:
            raise TimeoutError
        response: requests.Response = self.session.request(
            method,
            url,
            data=data,
            headers=headers,
            stream=True,
            verify=self.verify,
            timeout=(min(CONNECT_SECONDS, self.deadline.left()), min(READ_SECONDS, self.deadline.left())),
            allow_redirects=False,
            proxies=requests.utils.get_environ_proxies(url),
        )
        if response.status_code == 429 or response.status_code >= 500:
            raise failures.read_busy(response, self.reference)
        return response

    def read(self, response: requests.Response, most: int, what: str) -> bytes:
        """Return an answer's body of up to ``most`` bytes."""
        content = bytearray()
        for piece in self.pieces(response):
            content += piece
            if len(content) > most:
                raise image_manifests.refuse_too_large(what, most)
        return bytes(content)

    def pieces(self, response: requests.Response) -> Iterator[bytes]:
        """Yield an answer's body as it arrives."""
        with response:
            while piece := response.raw.read1(PIECE_BYTES, decode_content=False):
                yield piece
        if self.deadline.expired:
            raise TimeoutError


def action_of(method: str) -> str:
    """Return the permission that a method needs: ``pull`` or ``push``."""
    return "pull" if method in ("GET", "HEAD") else "push"


def _split_origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
