"""The OCI distribution protocol for one repository and one call, through oras; only this module uses oras.

oras knows the protocol (its URLs, blob uploads). This subclass of its `Registry` adds what it lacks: it checks every
byte against its digest, limits everything it reads, and gives every wait a deadline. Credentials come from memory and
go only to their own registry. A registry cannot redirect us into a private network.
"""

from __future__ import annotations

import json as jsonlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

import requests
import requests.adapters
import requests.utils
from oras.container import Container
from oras.provider import Registry

from pluginrelease import __version__
from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact import image_manifests, packing
from pluginrelease.core.artifact.image_manifests import Descriptor, Digest, Reference
from pluginrelease.core.errors import Refused, ReleaseError, Waiting
from pluginrelease.core.registry import tags
from pluginrelease.core.registry.transport import Transport
from pluginrelease.edges.oci import failures
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.oci.authorization import Authorization, challenge_values
from pluginrelease.edges.oci.blobs import Blobs, Incoming
from pluginrelease.edges.oci.connections import Adapter, Deadline, find_authorities
from pluginrelease.edges.oci.exchange import CONNECT_SECONDS, Exchange, action_of

MAX_INDEX_DEPTH = 3
TAGS_AT_ONCE = 1000  # as go-containerregistry asks for; a registry may return fewer
MAX_TAG_PAGES = 200
MAX_TAG_PAGE_BYTES = 1024 * 1024
MAX_TAGS_BYTES = 4 * 1024 * 1024  # of all the pages
NO_REFERRERS = (400, 404, 405, 406)  # from registries older than OCI distribution 1.1


class OrasContainer(Container):  # type: ignore[misc]
    """oras's URLs for one repository, from a reference that our own rules have parsed."""

    def __init__(self, reference: Reference) -> None:
        namespace, _, self.repository = reference.repository.rpartition("/")
        self.registry = reference.endpoint
        self.namespace = namespace or None
        self.tag = reference.tag or None
        self.digest = str(reference.digest) if reference.digest else None


class Repository(Registry):  # type: ignore[misc]
    """oras's registry, for one call."""

    def __init__(self, reference: Reference, access: Access, deadline: Deadline) -> None:
        verify = True if access.usual_only else find_authorities()
        super().__init__(hostname=reference.endpoint, insecure=access.insecure, tls_verify=verify)
        self.reference = reference
        self.container = OrasContainer(reference)
        self.access = access
        self.deadline = deadline
        self.origin = f"{self.prefix}://{reference.endpoint}"
        self.session.trust_env = False  # else requests would take credentials from ~/.netrc
        self.session.headers.update({"User-Agent": f"pluginrelease/{__version__}", "Accept-Encoding": "identity"})
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, Adapter(deadline, access.authorities, access.registry_ca))
        self.exchange = Exchange(reference, access, deadline, self.session, self.origin, self._tls_verify)
        self.authorization = Authorization(self.exchange, self.prefix)

    # what is read

    def image(self, reference: Reference) -> tuple[tuple[Digest, ...], bytes]:
        """Return digests and bytes of the manifest that a gateway takes.

        The first digest is the manifest's. Those of the indexes that lead to it follow, and the last one is what the
        reference names.
        """
        lineage: tuple[Digest, ...] = ()
        question = reference.question
        for _ in range(MAX_INDEX_DEPTH + 1):
            digest, raw, media_type = self.manifest(question)
            lineage = (digest, *lineage)
            if not image_manifests.is_index(media_type):
                return lineage, raw
            question = str(image_manifests.find_child(raw).digest)
        raise Refused(
            Reason.UNREADABLE_LAYOUT,
            f"{reference} is an index of indexes, nested more than {MAX_INDEX_DEPTH} deep",
            "Push the plugin as a single image.",
        )

    def manifest(self, question: str) -> tuple[Digest, bytes, str]:
        """Return digest, bytes and Content-Type of a manifest, by tag or digest."""
        url = f"{self.prefix}://{self.container.manifest_url(question)}"
        response = self.do_request(url, "GET", headers={"Accept": ", ".join(image_manifests.MANIFEST_TYPES)})
        raw = self.exchange.read(response, image_manifests.MAX_MANIFEST_BYTES, "The manifest")
        digest = Digest.of(raw)
        promised = question if question.startswith("sha256:") else response.headers.get("Docker-Content-Digest", "")
        if promised.startswith("sha256:") and promised != str(digest):
            raise failures.mismatch("the manifest", f"{digest} and not {promised}")
        return digest, raw, response.headers.get("Content-Type", "")

    def has_manifest(self, question: str) -> bool:
        """Return whether there is a manifest of this tag or digest. It is not read."""
        url = f"{self.prefix}://{self.container.manifest_url(question)}"
        answer = self.do_request(url, "HEAD", headers={"Accept": ", ".join(image_manifests.MANIFEST_TYPES)})
        return answer.status_code != 404

    def list_tags(self) -> tags.Listed:
        """Return every tag of the repository, page by page (distribution-spec, "Listing Tags")."""
        found: set[str] = set()
        step: tags.NextPage = tags.NextPage(f"n={TAGS_AT_ONCE}")
        left = MAX_TAGS_BYTES
        for _ in range(MAX_TAG_PAGES):
            try:
                page = self._tag_page(step.query, min(left, MAX_TAG_PAGE_BYTES))
            except (Refused, Waiting) as error:
                if step.guessed and error.reason.means_registry_declines:
                    return tags.Listed(tuple(found), whole=False)
                raise
            left -= page.size
            further = tags.find_next_page(page, found, TAGS_AT_ONCE)
            found |= {*page.tags}
            if len(found) > tags.MAX_TAGS:
                break
            if not isinstance(further, tags.NextPage):
                return tags.Listed(tuple(found), whole=further is tags.ListEnd.WHOLE)
            step = further
        raise tags.refuse_too_many(self.reference.name)

    def _tag_page(self, query: str, most: int) -> tags.Page:
        """Return one page from this registry and repository, even if the last page's Link names another host."""
        url = f"{self.prefix}://{self.container.tags_url()}?{query}"
        response = self.do_request(url, "GET")
        link = response.links.get("next", {}).get("url")
        content = bytearray()
        for piece in self.exchange.pieces(response):
            content += piece
            if len(content) > most:
                raise tags.refuse_too_many(self.reference.name)
        try:
            return tags.read_page(bytes(content), None if link is None else self._query_of(url, link))
        except ValueError:
            raise Refused(
                Reason.REGISTRY_REFUSED,
                f"The registry {self.reference.registry} answers the question for tags with what is no list of them",
                "Name a tag in the reference, or check the proxies between this cluster and the registry.",
            ) from None

    def _query_of(self, url: str, link: str) -> str:
        """Return the query of the next page from a Link; the rest of the Link is ignored.

        Registries behind a proxy get their own scheme, port or path wrong (sonatype/nexus-public#1011), and a Link must
        not lead to another host.
        """
        target = urlsplit(urljoin(url, link))
        if target.scheme not in ("http", "https") or target.hostname != urlsplit(self.origin).hostname:
            raise Refused(
                Reason.REGISTRY_REDIRECT_REFUSED,
                f"The registry {self.reference.registry} says that its list of tags continues at another host: "
                f"{str(target.hostname)[:100]!r}",
                "Have the registry, or the proxy before it, name its own host in the Link header, or a path alone.",
            )
        return target.query

    @contextmanager
    def layer(self, layer: Descriptor, store: Blobs) -> Iterator[BinaryIO]:
        """Open a layer as a file: from the store, or fetched and then kept in the store."""
        if layer.size > self.access.max_bytes:
            raise image_manifests.refuse_too_large("The image's layer", self.access.max_bytes)
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
        """Return a blob of up to ``most`` bytes, checked against the length and digest in its manifest."""
        if blob.size > most:
            raise failures.mismatch("a small blob", f"{blob.size} bytes long, more than {most}")
        content = self.exchange.read(
            self.get_blob(self.container, str(blob.digest), stream=True), blob.size, "A small blob"
        )
        if Digest.of(content) != blob.digest:
            raise failures.mismatch("a small blob", f"{Digest.of(content)} and not {blob.digest}")
        return content

    def referrers(self, digest: Digest) -> bytes | None:
        """Return the registry's list of referrers of a manifest; None if it keeps none (OCI distribution 1.1).

        It reads only the first page. Nothing in it can be verified.
        """
        url = f"{self.prefix}://{self.container.registry}/v2/{self.container.api_prefix}/referrers/{digest}"
        response = self._request(url, "GET", None, {"Accept": image_manifests.OCI_INDEX})
        listed = response.headers.get("Content-Type", "").partition(";")[0] == image_manifests.OCI_INDEX
        if response.status_code in NO_REFERRERS or (response.status_code == 200 and not listed):
            response.close()
            return None
        if response.status_code >= 300:
            raise self._failure(response)
        return self.exchange.read(response, image_manifests.MAX_MANIFEST_BYTES, "The list of referrers")

    def blob(self, layer: Descriptor, incoming: Incoming) -> None:
        """Fetch a layer, and check it against the length and digest in the manifest."""
        for piece in self.exchange.pieces(self.get_blob(self.container, str(layer.digest), stream=True)):
            if incoming.size + len(piece) > layer.size:
                raise failures.mismatch("the layer", f"more bytes long and not {layer.size}")
            incoming.write(piece)
        if incoming.size != layer.size:
            raise failures.mismatch("the layer", f"{incoming.size} bytes long and not {layer.size}")
        if incoming.digest != layer.digest:
            raise failures.mismatch("the layer", f"{incoming.digest} and not {layer.digest}")

    def challenge(self) -> tuple[str, ...]:
        """Return the challenges to a request without credentials."""
        response = self.exchange.follow("GET", f"{self.origin}/v2/", None, {})
        values = challenge_values(response)
        response.close()
        return values if response.status_code == 401 else ()

    def is_proxied(self) -> bool:
        """Return whether the environment has a proxy for this registry."""
        return bool(requests.utils.get_environ_proxies(self.origin))

    def probe_plain_http(self) -> Transport:
        """Begin TLS with a registry that speaks plain HTTP, as an agent does first; return how it reacts."""
        origin = urlsplit(self.origin)
        try:
            connection = self._connect(str(origin.hostname), origin.port or 443)
        except OSError:
            if origin.port:
                raise
            return Transport.MUTE  # nothing listens on the port of https, which an agent tries
        with connection, suppress(OSError):
            connection.sendall(_client_hello(str(origin.hostname)))
            return Transport.PLAIN if connection.recv(5, socket.MSG_WAITALL) == b"HTTP/" else Transport.MUTE
        return Transport.MUTE

    def _connect(self, host: str, port: int) -> socket.socket:
        connection = socket.create_connection((host, port), timeout=min(CONNECT_SECONDS, self.deadline.left()))
        self.deadline.watch(connection)
        return connection

    def put_manifest(self, image: packing.PackedImage) -> None:
        """Put the manifest's own bytes: oras would encode its JSON again and so change the digest."""
        url = f"{self.prefix}://{self.container.manifest_url(self.reference.tag or str(image.digest))}"
        answer = self.do_request(url, "PUT", image.manifest, {"Content-Type": image_manifests.OCI_MANIFEST})
        stored = answer.headers.get("Docker-Content-Digest", str(image.digest))
        if stored != str(image.digest):
            raise failures.mismatch("the manifest that was pushed", f"{stored[:100]} and not {image.digest}")

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
        """Send a request of oras. The caller reads the bodies of GET; other bodies are dropped."""
        body = data if json is None else jsonlib.dumps(json).encode()
        response = self._request(url, method, body, headers or {})
        if response.status_code >= 300 and not (method == "HEAD" and response.status_code == 404):
            raise self._failure(response)
        if method != "GET":
            response.close()
        return response

    def _request(self, url: str, method: str, data: Any, headers: dict[str, str]) -> requests.Response:
        """Send a request and log in if the registry asks for it; return the answer, whether or not it is an error."""
        action = action_of(method)
        response = self.exchange.follow(method, url, data, headers, self.authorization.recall(action))
        if response.status_code == 401:
            header = self.authorization.answer(response, action)
            response = self.exchange.follow(method, url, data, headers, header)
        return response

    def _failure(self, response: requests.Response) -> ReleaseError:
        if response.status_code in (401, 403):
            return self.authorization.deny(failures.quote(response))
        return failures.read_failure(response, self.reference)


@contextmanager
def open_repository(reference: Reference, access: Access) -> Iterator[Repository]:
    """Open a registry for one call. Errors of its libraries become ours."""
    with Deadline(access.deadline_seconds) as deadline:
        registry = Repository(reference, access, deadline)
        try:
            yield registry
        except failures.RAISED as error:
            # not "from error": the chain would contain signed URLs of blob stores
            raise failures.translate(error, reference, deadline) from None
        finally:
            registry.session.close()


def _client_hello(host: str) -> bytes:
    """Return the first bytes of a TLS connection."""
    context, said = ssl.create_default_context(), ssl.MemoryBIO()
    shake = context.wrap_bio(ssl.MemoryBIO(), said, server_hostname=host)
    with suppress(ssl.SSLWantReadError):
        shake.do_handshake()
    return said.read()
