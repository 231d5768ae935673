"""The OCI distribution protocol, for one repository and one call, through oras: the only user of it.

oras speaks the protocol (its URLs, blob uploads); this subclass of its `Registry` gives it what it lacks: every
byte is checked against its digest, everything read has a cap, every wait has a deadline, credentials come from memory
and go only to their own registry, and a registry cannot send us into somebody's private network.
"""

from __future__ import annotations

import hashlib
import http.client
import json as jsonlib
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

import requests
import requests.adapters
import requests.utils
import urllib3
from oras.container import Container
from oras.provider import Registry

from pluginrelease import __version__
from pluginrelease.core import timestamps
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.image_manifests import Descriptor, Digest, Reference
from pluginrelease.core.errors import Refused, ReleaseError, Transient, Waiting
from pluginrelease.core.registry import challenge as challenges
from pluginrelease.core.registry import credentials, tags
from pluginrelease.core.registry.transport import Transport
from pluginrelease.edges.desk import Desk
from pluginrelease.edges.oci.blobs import Blobs, Incoming
from pluginrelease.edges.oci.connections import Adapter, Deadline, trusted

PIECE_BYTES = 65536
CONNECT_SECONDS = 10.0
READ_SECONDS = 20.0  # between two pieces of an answer
PAUSES = (0.5, 2.0)  # seconds before the second and the third attempt
MAX_REDIRECTS = 5
MAX_INDEX_DEPTH = 3
MAX_TOKEN_BYTES = 1024 * 1024
TAGS_AT_ONCE = 1000  # what go-containerregistry asks for, too; a registry may give fewer
MAX_TAG_PAGES = 200
MAX_TAG_PAGE_BYTES = 1024 * 1024
MAX_TAGS_BYTES = 4 * 1024 * 1024  # of all the pages
MAX_ERROR_BYTES = 64 * 1024
NOT_FOUND_SECONDS = 60.0
NO_REFERRERS = (400, 404, 405, 406)  # of registries from before OCI distribution 1.1


@dataclass(frozen=True)
class Access:
    """How a registry may be reached. Its repr hides the secret.

    ``insecure``: plain http. ``dockerconfigjson``: the bytes of a pull secret, None for none. ``deadline_seconds``:
    for a whole call. ``max_bytes``: cap of the layer and of the module. ``allow_private_realms``: let the registry
    send us for tokens and blobs to private, loopback and link-local addresses (its own host is always allowed for
    blobs). ``authorities``: PEM certificates that the release trusts besides the usual ones, None for none;
    ``registry_ca``: those that the operator does. ``usual_only``: the usual ones and nothing of the environment's.
    ``desk``: in place of a pull secret, what a person is logged in with; it is asked only when the registry wants
    credentials.
    """

    insecure: bool = False
    dockerconfigjson: bytes | None = field(default=None, repr=False)
    deadline_seconds: float = 60.0
    max_bytes: int = image_manifests.MAX_WASM_BYTES
    allow_private_realms: bool = False
    authorities: bytes | None = None
    registry_ca: bytes | None = None
    usual_only: bool = False
    desk: Desk | None = field(default=None, repr=False)

    @property
    def fingerprint(self) -> str:
        """Tells one way of access from another without giving it away: to key what was fetched by it."""
        parts = (self.dockerconfigjson, self.authorities, self.registry_ca, self.insecure, self.allow_private_realms)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    @property
    def trusts_more(self) -> bool:
        """Whether it trusts authorities that others may not know."""
        return self.authorities is not None or self.registry_ca is not None or trusted() is not True

    def as_others(self) -> Access:
        """The same with the usual authorities only."""
        return replace(self, authorities=None, registry_ca=None, usual_only=True)


class OrasContainer(Container):  # type: ignore[misc]
    """oras's URLs for one repository, from a reference that was parsed by our rules."""

    def __init__(self, reference: Reference) -> None:
        namespace, _, self.repository = reference.repository.rpartition("/")
        self.registry = reference.endpoint
        self.namespace = namespace or None
        self.tag = reference.tag or None
        self.digest = str(reference.digest) if reference.digest else None


class Repository(Registry):  # type: ignore[misc]
    """oras's registry for one call."""

    def __init__(self, reference: Reference, access: Access, deadline: Deadline) -> None:
        verify = True if access.usual_only else trusted()
        super().__init__(hostname=reference.endpoint, insecure=access.insecure, tls_verify=verify)
        self.reference = reference
        self.place = OrasContainer(reference)
        self.access = access
        self.deadline = deadline
        self.origin = f"{self.prefix}://{reference.endpoint}"
        self.authorization: dict[str, str] = {}  # by action: pull, push
        self.credentials: credentials.Credentials | None = None
        if access.dockerconfigjson is not None:
            self.credentials = credentials.find(access.dockerconfigjson, reference)
        self.session.trust_env = False  # requests would take credentials from ~/.netrc
        self.session.headers.update({"User-Agent": f"pluginrelease/{__version__}", "Accept-Encoding": "identity"})
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, Adapter(deadline, access.authorities, access.registry_ca))

    # what is read

    def image(self, reference: Reference) -> tuple[tuple[Digest, ...], bytes]:
        """The manifest that a gateway takes: its digest, followed by those of the indexes that lead to it, the one
        that the reference names last; and its bytes."""
        lineage: tuple[Digest, ...] = ()
        question = reference.question
        for _ in range(MAX_INDEX_DEPTH + 1):
            digest, raw, media_type = self.manifest(question)
            lineage = (digest, *lineage)
            if not image_manifests.is_index(media_type):
                return lineage, raw
            question = str(image_manifests.child(raw).digest)
        raise Refused(
            "UnreadableLayout",
            f"{reference} is an index of indexes, nested more than {MAX_INDEX_DEPTH} deep",
            "Push the plugin as a single image.",
        )

    def manifest(self, question: str) -> tuple[Digest, bytes, str]:
        """Digest, bytes and Content-Type of a manifest, by tag or digest."""
        url = f"{self.prefix}://{self.place.manifest_url(question)}"
        response = self.do_request(url, "GET", headers={"Accept": ", ".join(image_manifests.MANIFEST_TYPES)})
        raw = self._read(response, image_manifests.MAX_MANIFEST_BYTES, "The manifest")
        digest = Digest.of(raw)
        promised = question if question.startswith("sha256:") else response.headers.get("Docker-Content-Digest", "")
        if promised.startswith("sha256:") and promised != str(digest):
            raise mismatch("the manifest", f"{digest} and not {promised}")
        return digest, raw, response.headers.get("Content-Type", "")

    def list_tags(self) -> tags.Listed:
        """Every tag of the repository, page by page (distribution-spec, "Listing Tags")."""
        found: set[str] = set()
        step: tags.NextPage = tags.NextPage(f"n={TAGS_AT_ONCE}")
        left = MAX_TAGS_BYTES
        for _ in range(MAX_TAG_PAGES):
            try:
                page = self._tag_page(step.query, min(left, MAX_TAG_PAGE_BYTES))
            except (Refused, Waiting) as error:
                if step.guessed and error.reason in ("RegistryRefused", "ManifestNotFound"):
                    return tags.Listed(tuple(found), whole=False)
                raise
            left -= page.size
            further = tags.further(page, found, TAGS_AT_ONCE)
            found |= {*page.tags}
            if len(found) > tags.MAX_TAGS:
                break
            if not isinstance(further, tags.NextPage):
                return tags.Listed(tuple(found), whole=further is tags.ListEnd.WHOLE)
            step = further
        raise tags.too_many(self.reference.name)

    def _tag_page(self, query: str, most: int) -> tags.Page:
        """One page, from this registry and this repository whatever the Link of the page before it named."""
        url = f"{self.prefix}://{self.place.tags_url()}?{query}"
        response = self.do_request(url, "GET")
        link = response.links.get("next", {}).get("url")
        content = bytearray()
        for piece in self._pieces(response):
            content += piece
            if len(content) > most:
                raise tags.too_many(self.reference.name)
        try:
            return tags.read(bytes(content), None if link is None else self._query_of(url, link))
        except ValueError:
            raise Refused(
                "RegistryRefused",
                f"The registry {self.reference.registry} answers the question for tags with what is no list of them",
                "Name a tag in the reference, or look at what stands between this cluster and the registry.",
            ) from None

    def _query_of(self, url: str, link: str) -> str:
        """Where the list goes on. Of the Link only the query counts: registries behind a proxy get their own scheme,
        port or path wrong (sonatype/nexus-public#1011), and nobody is sent elsewhere by it."""
        target = urlsplit(urljoin(url, link))
        if target.scheme not in ("http", "https") or target.hostname != urlsplit(self.origin).hostname:
            raise Refused(
                "RegistryRedirectRefused",
                f"The registry {self.reference.registry} says that its list of tags goes on at another host: "
                f"{str(target.hostname)[:100]!r}",
                "Have the registry, or the proxy before it, name its own host in the Link header, or a path alone.",
            )
        return target.query

    @contextmanager
    def layer(self, layer: Descriptor, store: Blobs) -> Iterator[BinaryIO]:
        """A layer as a file: the one that the store has, or else fetched, and then the store has it."""
        if layer.size > self.access.max_bytes:
            raise image_manifests.too_large("The image's layer", self.access.max_bytes)
        kept = store.find(self.reference, layer.digest)
        if kept is not None:
            with kept:
                yield kept
            return
        with store.receive() as incoming:
            self.blob(layer, incoming)
            file = incoming.done()
            incoming.keep(self.reference)
            yield file

    def small_blob(self, blob: Descriptor, most: int) -> bytes:
        """A blob of up to ``most`` bytes, in memory, checked against the length and the digest in its manifest."""
        if blob.size > most:
            raise mismatch("a small blob", f"{blob.size} bytes long, more than {most}")
        content = self._read(self.get_blob(self.place, str(blob.digest), stream=True), blob.size, "A small blob")
        if Digest.of(content) != blob.digest:
            raise mismatch("a small blob", f"{Digest.of(content)} and not {blob.digest}")
        return content

    def referrers(self, digest: Digest) -> bytes | None:
        """The registry's list of what refers to a manifest; None where it does not keep one (OCI distribution 1.1).

        Only its first page; nothing in it can be checked.
        """
        url = f"{self.prefix}://{self.place.registry}/v2/{self.place.api_prefix}/referrers/{digest}"
        response = self._let_in(url, "GET", None, {"Accept": image_manifests.OCI_INDEX})
        listed = response.headers.get("Content-Type", "").partition(";")[0] == image_manifests.OCI_INDEX
        if response.status_code in NO_REFERRERS or (response.status_code == 200 and not listed):
            response.close()
            return None
        if response.status_code >= 300:
            raise self._failure(response)
        return self._read(response, image_manifests.MAX_MANIFEST_BYTES, "The list of referrers")

    def blob(self, layer: Descriptor, incoming: Incoming) -> None:
        """Fetch a layer, and check it against the length and the digest in the manifest."""
        for piece in self._pieces(self.get_blob(self.place, str(layer.digest), stream=True)):
            if incoming.size + len(piece) > layer.size:
                raise mismatch("the layer", f"more bytes long and not {layer.size}")
            incoming.write(piece)
        if incoming.size != layer.size:
            raise mismatch("the layer", f"{incoming.size} bytes long and not {layer.size}")
        if incoming.digest != layer.digest:
            raise mismatch("the layer", f"{incoming.digest} and not {layer.digest}")

    def challenge(self) -> tuple[str, ...]:
        """The challenges of a request without credentials."""
        response = self._follow("GET", f"{self.origin}/v2/", None, {})
        values = _challenge_values(response)
        response.close()
        return values if response.status_code == 401 else ()

    def is_proxied(self) -> bool:
        """Whether the environment has a proxy for this registry."""
        return bool(requests.utils.get_environ_proxies(self.origin))

    def plain_door(self) -> Transport:
        """Begins TLS with a registry that speaks plain HTTP, as an agent does first, and sees what it says to that."""
        place = urlsplit(self.origin)
        try:
            connection = self._connect(str(place.hostname), place.port or 443)
        except OSError:
            if place.port:
                raise
            return Transport.MUTE  # nobody at the port of https, where an agent knocks
        with connection, suppress(OSError):
            connection.sendall(_client_hello(str(place.hostname)))
            return Transport.PLAIN if connection.recv(5, socket.MSG_WAITALL) == b"HTTP/" else Transport.MUTE
        return Transport.MUTE

    def _connect(self, host: str, port: int) -> socket.socket:
        connection = socket.create_connection((host, port), timeout=min(CONNECT_SECONDS, self.deadline.left()))
        self.deadline.watch(connection)
        return connection

    def put_manifest(self, image: image_manifests.PackedImage) -> None:
        """Put the manifest's own bytes: oras would write its JSON anew, and the digest would be another."""
        url = f"{self.prefix}://{self.place.manifest_url(self.reference.tag or str(image.digest))}"
        answer = self.do_request(url, "PUT", image.manifest, {"Content-Type": image_manifests.OCI_MANIFEST})
        stored = answer.headers.get("Docker-Content-Digest", str(image.digest))
        if stored != str(image.digest):
            raise mismatch("the manifest that was pushed", f"{stored[:100]} and not {image.digest}")

    def _read(self, response: requests.Response, most: int, what: str) -> bytes:
        """Read an answer's body of up to ``most`` bytes."""
        content = bytearray()
        for piece in self._pieces(response):
            content += piece
            if len(content) > most:
                raise image_manifests.too_large(what, most)
        return bytes(content)

    def _pieces(self, response: requests.Response) -> Iterator[bytes]:
        """An answer's body as it comes."""
        with response:
            while piece := response.raw.read1(PIECE_BYTES, decode_content=False):
                yield piece
        if self.deadline.expired:
            raise TimeoutError

    # how it is asked

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: Any = None,
        headers: dict[str, str] | None = None,
        json: Any = None,
        stream: bool = False,
    ) -> requests.Response:
        """oras's one way to the registry. Bodies of GET are left to be read by `_read`, others are dropped."""
        body = data if json is None else jsonlib.dumps(json).encode()
        response = self._let_in(url, method, body, headers or {})
        if response.status_code >= 300 and not (method == "HEAD" and response.status_code == 404):
            raise self._failure(response)
        if method != "GET":
            response.close()
        return response

    def _let_in(self, url: str, method: str, data: Any, headers: dict[str, str]) -> requests.Response:
        """The answer, after logging in where that is asked for; whatever it says."""
        action = _action(method)
        response = self._ask(method, url, data, headers, action)
        if response.status_code == 401:
            self.authorization[action] = self._authorize(response, action)
            response = self._ask(method, url, data, headers, action)
        return response

    def _ask(self, method: str, url: str, data: Any, headers: dict[str, str], action: str) -> requests.Response:
        known = self.authorization.get(action)
        return self._follow(method, url, data, headers, known)

    def _follow(
        self, method: str, url: str, data: Any, headers: dict[str, str], authorization: str | None = None
    ) -> requests.Response:
        """Send, and follow redirects of what only reads. Only the registry itself is shown credentials."""
        for _ in range(MAX_REDIRECTS + 1):
            self._check_target(url)
            sent = dict(headers)
            if authorization and _origin(url) == _origin(self.origin):
                sent["Authorization"] = authorization
            response = self._patiently(method, url, data, sent)
            target = response.headers.get("Location", "")
            if response.status_code not in (301, 302, 303, 307, 308) or _action(method) == "push" or not target:
                return response
            response.close()
            url = urljoin(url, target)
        raise Refused(
            "RegistryRedirectRefused",
            f"The registry {self.reference.registry} redirects more than {MAX_REDIRECTS} times",
            "Look at what stands between this cluster and the registry.",
        )

    def _check_target(self, url: str) -> None:
        """Refuse to be sent from the registry to plain http or to an address that is not public, as a gateway does
        (google/go-containerregistry, pkg/v1/remote/fetcher.go, checkRedirectSSRF)."""
        target, own = urlsplit(url), urlsplit(self.origin)
        if target.scheme == own.scheme and target.hostname == own.hostname:
            return
        if target.scheme not in ("http", "https") or not target.hostname:
            raise self._sent_away(f"to a {target.scheme[:20]!r} address")
        if target.scheme == "http" and not self.access.insecure:
            raise self._sent_away("from https to plain http")
        if challenges.internal(target.hostname) and not self.access.allow_private_realms:
            raise self._sent_away("to a private, loopback or link-local address")

    def _sent_away(self, how: str) -> Refused:
        return Refused(
            "RegistryRedirectRefused",
            f"The registry {self.reference.registry} sends its clients {how}",
            "Let the registry serve its blobs itself or from a public https address.",
        )

    def _patiently(self, method: str, url: str, data: Any, headers: dict[str, str]) -> requests.Response:
        """Send again what may heal within this call: 429, 5xx, a connection that broke. Nothing else."""
        for pause in PAUSES:
            wait = pause
            try:
                return self._once(method, url, data, headers)
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
        return self._once(method, url, data, headers)

    def _once(self, method: str, url: str, data: Any, headers: dict[str, str]) -> requests.Response:
        if self.deadline.expired:
            raise TimeoutError
        response: requests.Response = self.session.request(
            method,
            url,
            data=data,
            headers=headers,
            stream=True,
            verify=self._tls_verify,
            timeout=(min(CONNECT_SECONDS, self.deadline.left()), min(READ_SECONDS, self.deadline.left())),
            allow_redirects=False,
            proxies=requests.utils.get_environ_proxies(url),
        )
        if response.status_code == 429 or response.status_code >= 500:
            raise self._busy(response)
        return response

    def _busy(self, response: requests.Response) -> Transient:
        retry_after = timestamps.retry_after(response.headers.get("Retry-After", ""), datetime.now(UTC))
        return Transient(
            "RegistryUnavailable",
            f"The registry {self.reference.registry} answers {response.status_code}{self._said(response)}",
            "It is tried again; look at the registry if this stays.",
            retry_after=retry_after,
        )

    # who asks

    def _authorize(self, response: requests.Response, action: str) -> str:
        """The Authorization that answers a 401, or the error that says whose turn it is."""
        offered = challenges.read(_challenge_values(response))
        said = self._said(response)
        if self.credentials is None and self.access.desk is not None:
            self.credentials = self.access.desk.find(self.reference)
        bearer = next((one for one in offered if one.scheme == "bearer"), None)
        if self.credentials and self.credentials.bearer:
            return f"Bearer {self.credentials.bearer}"
        if bearer is not None:
            return f"Bearer {self._token(bearer, action)}"
        if self.credentials and any(one.scheme == "basic" for one in offered):
            return f"Basic {self.credentials.basic}"
        raise self._denied(said)

    def _token(self, bearer: challenges.Challenge, action: str) -> str:
        """Ask the realm for a token (distribution/distribution, docs: spec/auth/token and spec/auth/oauth)."""
        self._check_realm(bearer.realm)
        actions = "pull" if action == "pull" else "pull,push"
        scope = bearer.parameters.get("scope") or f"repository:{self.reference.repository}:{actions}"
        form = {"service": bearer.parameters.get("service", ""), "scope": scope}
        response = self._patiently(*self._token_request(bearer.realm, form))
        if response.status_code != 200:
            raise self._denied(self._said(response))
        raw = self._read(response, MAX_TOKEN_BYTES, "The registry's token")
        with suppress(ValueError, RecursionError):
            answer = jsonlib.loads(raw)
            token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
            if isinstance(token, str) and re.fullmatch(r"[\x21-\x7e]+", token):
                return token
        raise Transient(
            "RegistryUnavailable",
            f"The token service of the registry {self.reference.registry} answers without a token",
            "It is tried again; look at the registry's token service if this stays.",
        )

    def _token_request(
        self, realm: str, form: dict[str, str]
    ) -> tuple[str, str, dict[str, str] | None, dict[str, str]]:
        """Method, URL, body and headers."""
        if self.credentials and self.credentials.refresh_token:
            form |= {"grant_type": "refresh_token", "refresh_token": self.credentials.refresh_token}
            return "POST", realm, form | {"client_id": "pluginrelease"}, {}
        headers = {"Authorization": f"Basic {self.credentials.basic}"} if self.credentials else {}
        url = requests.Request("GET", realm, params={k: v for k, v in form.items() if v}).prepare().url
        return "GET", str(url), None, headers

    def _check_realm(self, realm: str) -> None:
        reason = "" if self.access.allow_private_realms else challenges.objection(realm)
        if not reason and urlsplit(realm).scheme not in ("https", self.prefix):
            reason = "it would send credentials over plain http"
        if reason:
            raise Refused(
                "RegistryChallengeRefused",
                f"The registry {self.reference.registry} asks to fetch tokens from {realm[:100]!r}: {reason}",
                "Set the registry's token realm to an https URL with a public host name.",
            )

    # what went wrong

    def _failure(self, response: requests.Response) -> ReleaseError:
        status, said = response.status_code, self._said(response)
        if status in (401, 403):
            return self._denied(said)
        if status == 404 and response.request.method == "GET":
            return Waiting(
                "ManifestNotFound",
                f"The registry {self.reference.registry} has no {self.reference}{said}",
                "Push it, or correct the reference. It is looked for again every "
                f"{NOT_FOUND_SECONDS:.0f} seconds, as a tag may be pushed later.",
                retry_after=NOT_FOUND_SECONDS,
            )
        return Refused(
            "RegistryRefused",
            f"The registry {self.reference.registry} answers {status}{said}",
            "Look at the reference and at the registry's log.",
        )

    def _denied(self, said: str) -> Refused:
        registry, name = self.reference.registry, self.reference.name
        if self.credentials is not None:
            ends = " (the password ends with a line break)" if self.credentials.password.endswith("\n") else ""
            return Refused(
                "AuthenticationFailed",
                f"The registry {registry} refuses the credentials given for {name}{ends}{said}",
                "Put credentials that may read (to push: write) this repository into the pull secret.",
            )
        return Refused(
            "AuthenticationRequired",
            f"The registry {registry} wants credentials for {name}, or has no such repository, and "
            f"{self._lack()}{said}",
            "Name a secret of type kubernetes.io/dockerconfigjson with an entry for this registry in "
            "spec.artifact.image.pullSecretRef, and check the repository's name.",
        )

    def _lack(self) -> str:
        """Why there are no credentials to show."""
        if self.access.desk is not None:
            return self.access.desk.why_none(self.reference)
        secret = self.access.dockerconfigjson
        if secret is None:
            return "none were given"
        return f"the pull secret has no entry for it (it has {', '.join(credentials.hosts(secret)) or 'nothing'})"

    def _said(self, response: requests.Response) -> str:
        """The registry's own words, if they can be had: ``: MANIFEST_UNKNOWN: manifest unknown``."""
        with suppress(Exception), response:
            raw = response.raw.read1(MAX_ERROR_BYTES, decode_content=False)
            first = jsonlib.loads(raw)["errors"][0]
            words = ": ".join(str(first[key]) for key in ("code", "message") if first.get(key))
            return ": " + re.sub(r"[^\x20-\x7e]+", " ", words)[:200]
        return ""


@contextmanager
def opened(reference: Reference, access: Access) -> Iterator[Repository]:
    """A registry for one call; whatever its libraries raise leaves as one of our errors."""
    with Deadline(access.deadline_seconds) as deadline:
        registry = Repository(reference, access, deadline)
        try:
            yield registry
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            ConnectionError,
            TimeoutError,
            ssl.SSLError,
            ValueError,
        ) as error:
            # not "from error": the chain would hold signed URLs of blob stores
            raise _translated(error, reference, deadline) from None
        finally:
            registry.session.close()


def _translated(error: Exception, reference: Reference, deadline: Deadline) -> ReleaseError:
    name = reference.registry
    causes = tuple(_causes(error))
    if deadline.expired:
        return _unavailable(f"The registry {name} did not finish within {deadline.seconds:g} seconds")
    tls = next((one for one in causes if isinstance(one, ssl.SSLError)), None)
    if tls is not None and not isinstance(tls, (ssl.SSLEOFError, ssl.SSLZeroReturnError, TimeoutError)):
        return _tls(name, str(tls))
    if any(isinstance(one, (requests.Timeout, TimeoutError, urllib3.exceptions.ReadTimeoutError)) for one in causes):
        return _unavailable(f"The registry {name} does not answer in time")
    system = next((one for one in causes if isinstance(one, OSError) and one.strerror), None)
    detail = str(system.strerror) if isinstance(system, OSError) else type(causes[-1]).__name__
    return _unavailable(f"The registry {name} cannot be reached or broke off: {detail[:200]}")


def _unavailable(message: str) -> Transient:
    return Transient(
        "RegistryUnavailable",
        message,
        "It is tried again; check the host, the network policy and the proxy between this cluster and the registry.",
    )


def _tls(registry: str, detail: str) -> Refused:
    if any(text in detail.lower() for text in ("wrong version number", "http request", "record layer failure")):
        return Refused(
            "RegistryTLS",
            f"The registry {registry} speaks plain http and not https",
            "Give it a certificate, or, for a registry within the cluster, set spec.artifact.image.insecure: true.",
        )
    return Refused(
        "RegistryTLS",
        f"The registry {registry} cannot be trusted: {re.sub(r'[^ -~]+', ' ', detail)[:200]}",
        "Give it a certificate for this host name from an authority that the operator and the gateways trust.",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what is within it, outermost first: requests and urllib3 wrap by argument as well as by cause."""
    queue: list[BaseException] = [error]
    seen: set[int] = set()
    while queue:
        one = queue.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = (*one.args, getattr(one, "reason", None), one.__cause__, one.__context__)
        queue.extend(item for item in inner if isinstance(item, BaseException))


def _action(method: str) -> str:
    """What a method needs leave for: ``pull`` or ``push``."""
    return "pull" if method in ("GET", "HEAD") else "push"


def mismatch(what: str, found: str) -> Refused:
    return Refused(
        "DigestMismatch",
        f"The registry gave other bytes than were asked for: {what} is {found}",
        "Push the plugin again; if it stays, a proxy or the registry's storage changes what passes through it.",
    )


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _challenge_values(response: requests.Response) -> tuple[str, ...]:
    """Every WWW-Authenticate header by itself; requests would join them."""
    return tuple(response.raw.headers.getlist("WWW-Authenticate"))


def _client_hello(host: str) -> bytes:
    """The first bytes of a TLS connection."""
    context, said = ssl.create_default_context(), ssl.MemoryBIO()
    shake = context.wrap_bio(ssl.MemoryBIO(), said, server_hostname=host)
    with suppress(ssl.SSLWantReadError):
        shake.do_handshake()
    return said.read()
