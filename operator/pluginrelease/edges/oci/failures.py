"""Turn failures between us and a registry into our errors."""

from __future__ import annotations

import http.client
import json as jsonlib
import re
import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import requests
import requests.adapters
import requests.utils
import urllib3

from pluginrelease.api.reasons import Reason
from pluginrelease.core import timestamps
from pluginrelease.core.artifact.image_manifests import Reference
from pluginrelease.core.errors import Refused, ReleaseError, Transient, Waiting
from pluginrelease.edges.oci.connections import Deadline

NOT_FOUND_SECONDS = 60.0
MAX_ERROR_BYTES = 64 * 1024
# what the libraries below us raise, and `translate` turns into ours
RAISED = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
    ValueError,
)


def read_failure(response: requests.Response, reference: Reference) -> ReleaseError:
    """Return the error for an answer that is neither a success nor about credentials."""
    status, said = response.status_code, quote(response)
    if status == 404 and response.request.method == "GET":
        return Waiting(
            Reason.MANIFEST_NOT_FOUND,
            f"The registry {reference.registry} has no {reference}{said}",
            "Push it, or correct the reference. It is looked for again every "
            f"{NOT_FOUND_SECONDS:.0f} seconds, as a tag may be pushed later.",
            retry_after=NOT_FOUND_SECONDS,
        )
    return Refused(
        Reason.REGISTRY_REFUSED,
        f"The registry {reference.registry} answers {status}{said}",
        "Look at the reference and at the registry's log.",
    )


def read_busy(response: requests.Response, reference: Reference) -> Transient:
    """Return the error for an answer 429 or 5xx, which is tried again."""
    retry_after = timestamps.retry_after(response.headers.get("Retry-After", ""), datetime.now(UTC))
    return Transient(
        Reason.REGISTRY_UNAVAILABLE,
        f"The registry {reference.registry} answers {response.status_code}{quote(response)}",
        "It is tried again; look at the registry if this stays.",
        retry_after=retry_after,
    )


def quote(response: requests.Response) -> str:
    """Return the registry's own words, if there are any: ``: MANIFEST_UNKNOWN: manifest unknown``."""
    with suppress(Exception), response:
        raw = response.raw.read1(MAX_ERROR_BYTES, decode_content=False)
        first = jsonlib.loads(raw)["errors"][0]
        words = ": ".join(str(first[key]) for key in ("code", "message") if first.get(key))
        return ": " + re.sub(r"[^\x20-\x7e]+", " ", words)[:200]
    return ""


def translate(error: Exception, reference: Reference, deadline: Deadline) -> ReleaseError:
    """Return our error for what the libraries raise."""
    name = reference.registry
    causes = tuple(_unwrap(error))
    if deadline.expired:
        return _unavailable(f"The registry {name} did not finish within {deadline.seconds:g} seconds")
    tls = next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)
    if tls is not None and not isinstance(tls, (ssl.SSLEOFError, ssl.SSLZeroReturnError, TimeoutError)):
        return _explain_tls(name, str(tls))
    if any(
        isinstance(cause, (requests.Timeout, TimeoutError, urllib3.exceptions.ReadTimeoutError)) for cause in causes
    ):
        return _unavailable(f"The registry {name} does not answer in time")
    system = next((cause for cause in causes if isinstance(cause, OSError) and cause.strerror), None)
    detail = str(system.strerror) if isinstance(system, OSError) else type(causes[-1]).__name__
    return _unavailable(f"The registry {name} cannot be reached or broke off: {detail[:200]}")


def _unavailable(message: str) -> Transient:
    return Transient(
        Reason.REGISTRY_UNAVAILABLE,
        message,
        "It is tried again; check the host, the network policy and the proxy between this cluster and the registry.",
    )


def _explain_tls(registry: str, detail: str) -> Refused:
    if any(text in detail.lower() for text in ("wrong version number", "http request", "record layer failure")):
        return Refused(
            Reason.REGISTRY_TLS,
            f"The registry {registry} speaks plain http and not https",
            "Give it a certificate, or, for a registry within the cluster, set spec.artifact.image.insecure: true.",
        )
    return Refused(
        Reason.REGISTRY_TLS,
        f"The registry {registry} cannot be trusted: {re.sub(r'[^ -~]+', ' ', detail)[:200]}",
        "Give it a certificate for this host name from an authority that the operator and the gateways trust.",
    )


def _unwrap(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those within it, outermost first: requests and urllib3 wrap by argument and by cause."""
    queue: list[BaseException] = [error]
    seen: set[int] = set()
    while queue:
        cause = queue.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        inner = (*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__)
        queue.extend(item for item in inner if isinstance(item, BaseException))


def mismatch(what: str, found: str) -> Refused:
    """Return the error for bytes that differ from those that were requested."""
    return Refused(
        Reason.DIGEST_MISMATCH,
        f"The registry gave other bytes than were asked for: {what} is {found}",
        "Push the plugin again; if it stays, a proxy or the registry's storage changes what passes through it.",
    )
