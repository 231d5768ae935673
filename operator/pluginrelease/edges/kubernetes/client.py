"""The API server's objects, watches, logs and port-forwards. Objects are plain mappings; nothing is decided here.

Error answers are raised as `core.apiserver.answers` reads them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import aiohttp

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.api.reasons import Reason
from pluginrelease.core.apiserver import answers, applied, lease
from pluginrelease.core.apiserver.answers import Asked, NotFound, ServerAnswer
from pluginrelease.core.apiserver.scope import Scope
from pluginrelease.core.apiserver.watching import LineSplitter, LineTooLong
from pluginrelease.core.errors import ReleaseError, Transient, Waiting
from pluginrelease.core.mesh import providers
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.contact import Contact
from pluginrelease.edges.kubernetes.limiter import Limiter
from pluginrelease.edges.kubernetes.login import Login
from pluginrelease.edges.kubernetes.resources import JSON, PODS, RELEASES, Resource

REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 10.0
WATCH_SECONDS = 300
# a watch gets a bookmark each minute: a stream that is silent for longer is dead
SILENT_SECONDS = 100.0

# etcd's objects have at most 1.5 MB; a list of 500 pods of 20 kB each has 10 MB
ANSWER_LIMIT = 64 * 1024 * 1024
# an error repeats the refused object, which has at most 3 MiB
FAILURE_LIMIT = 4 * 1024 * 1024
PAGE = 500
PORT_FORWARD_PROTOCOL = "v4.channel.k8s.io"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class Expired(Exception):
    """The API server no longer has the history since a version: the objects must be listed again."""


# raises `ReleaseError` if no write may begin now
Fence = Callable[[], None]


class Cluster:
    """One connection to one API server. Use it as an asynchronous context manager.

    With a ``fence`` each write calls it at the last moment, and the API server ends the write within
    `lease.WRITE_SECONDS`. With a ``limiter`` requests wait for their turn, except watches and requests to pods. With a
    ``scope`` "all objects of a kind" means those in its namespaces.
    """

    def __init__(
        self,
        login: Login,
        contact: Contact | None = None,
        fence: Fence | None = None,
        limiter: Limiter | None = None,
        scope: Scope | None = None,
    ) -> None:
        self.login = login
        self._scope = scope or Scope()
        self._fence = fence
        self._limiter = limiter
        self._session = login.session(
            contact,
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS, connect=CONNECT_SECONDS),
            read_bufsize=2**20,
        )

    @classmethod
    async def connect(
        cls, path: Path | None = None, context: str | None = None, contact: Contact | None = None
    ) -> Self:
        """Connect with a kubeconfig file, else with the pod's ServiceAccount, else with the user's own kubeconfig.

        ``context`` is one of the file's; None: its current one. ``contact`` notes every answer.
        """
        return cls(await Login.read(path, context), contact)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    # ------------------------------------------------------------------------------------------- objects

    async def get(self, resource: Resource, namespace: str | None, name: str) -> JSON | None:
        """Return the object; None if there is none of that name."""
        try:
            return await self._json("GET", resource.path(namespace, name))
        except NotFound:
            return None

    async def list(self, resource: Resource, namespace: str | None, labels: Mapping[str, str | None]) -> list[JSON]:
        """Return all objects with these labels, page by page. ``namespace`` None: in all namespaces of the scope.

        Gateways' namespaces where the operator has no Role are skipped. A read by name reports the missing right.
        """
        places = self._scope.places(resource.plural) if namespace is None else (namespace,)
        found = await asyncio.gather(*(self._list_in(resource, place, labels, len(places)) for place in places))
        return [item for items in found for item in items]

    async def _list_in(
        self, resource: Resource, namespace: str | None, labels: Mapping[str, str | None], places: int
    ) -> Sequence[JSON]:
        try:
            return (await self._list_page(resource, namespace, labels))[1]
        except ReleaseError as error:
            if places > 1 and resource != RELEASES and error.reason is Reason.FORBIDDEN:
                return ()
            raise

    async def list_at(
        self, resource: Resource, namespace: str | None, labels: Mapping[str, str | None]
    ) -> tuple[str, Sequence[JSON]]:
        """Return the same with the collection's version, from which a watch can continue. Raises `NotFound`."""
        return await self._list_page(resource, namespace, labels)

    async def _list_page(
        self, resource: Resource, namespace: str | None, labels: Mapping[str, str | None]
    ) -> tuple[str, Sequence[JSON]]:
        """Return the version of the collection, and its objects at that version."""
        items: list[JSON] = []
        query = {"limit": str(PAGE), **selector_query(labels)}
        while True:
            page = await self._json("GET", resource.path(namespace), query=query)
            items += page["items"]
            rest = page["metadata"].get("continue")
            if not rest:
                return page["metadata"]["resourceVersion"], items
            query = {**query, "continue": rest}

    async def create(self, manifest: JSON) -> JSON:
        """Create one object and return it. Raises a conflict if the name is taken."""
        return await self._json("POST", resources.collection_of(manifest), body=manifest)

    async def replace(self, manifest: JSON) -> JSON:
        """Replace the object in the version that the manifest names, and return it.

        Raises a conflict if there is a newer one.
        """
        return await self._json("PUT", resources.path_of(manifest), body=manifest)

    async def apply(self, manifest: JSON, *, uid: str | None, version: str | None = None) -> JSON:
        """Apply one whole object with server-side apply, as field manager ``pluginrelease``.

        With a ``uid`` the object must still be that one, in that ``version``, and the apply forces our fields. Without
        a ``uid`` the object must not exist. Then the apply takes no field from another manager: an object that another
        client has created meanwhile is a conflict, and stays as it is.
        """
        metadata = {**manifest["metadata"], **identity(uid, version)}
        body = {**manifest, "metadata": metadata}
        try:
            return await self._apply(resources.path_of(manifest), body, force=uid is not None)
        except NotFound as error:
            raise explain_not_found(manifest, error) from error

    async def _apply(self, path: str, body: JSON, *, force: bool) -> JSON:
        """Apply, and apply again if the merge set a map to null that we gave up (`applied`)."""
        query = {"fieldManager": api.FIELD_MANAGER, **({"force": "true"} if force else {})}
        wanted = applied.without_empties(body)
        answer = await self._json("PATCH", path, query=query, body=wanted, content_type=APPLY)
        if applied.has_nulled_maps(wanted, answer):
            own = {**wanted["metadata"], "resourceVersion": answer["metadata"]["resourceVersion"]}
            wanted = {**wanted, "metadata": own}
            answer = await self._json("PATCH", path, query=query, body=wanted, content_type=APPLY)
        return answer

    async def apply_status(self, release: api.Release, status: api.Status, version: str | None = None) -> JSON | None:
        """Apply the whole status; return the object, or None if the release is gone.

        With a ``version`` the release must still be that one.
        """
        own = release.metadata
        metadata = {"name": own.name, "namespace": own.namespace, **identity(own.uid, version)}
        return await self.apply_raw_status(metadata, status.wire())

    async def apply_raw_status(self, metadata: JSON, status: JSON) -> JSON | None:
        """Apply the status of a release that may not fit the models, by its metadata."""
        own = {part: metadata[part] for part in ("name", "namespace", "uid", "resourceVersion") if part in metadata}
        body = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": own, "status": status}
        try:
            return await self._apply(RELEASES.path(own["namespace"], own["name"], "status"), body, force=True)
        except NotFound:
            return None

    async def delete(self, observed: JSON) -> None:
        """Delete exactly the observed object; do nothing if it is gone.

        Raises a conflict if it was created again or changed meanwhile.
        """
        path = resources.path_of(observed)
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": identity_of(observed)}
        try:
            await self._json("DELETE", path, body=body)
        except NotFound:
            return

    async def disown(self, observed: JSON) -> None:
        """Remove owner references and our uid from an object that outlives its release."""
        path = resources.path_of(observed)
        labels = {api.UID_LABEL: None}
        body = {"metadata": {**identity_of(observed), "ownerReferences": None, "labels": labels}}
        try:
            await self._json("PATCH", path, query={"fieldManager": api.FIELD_MANAGER}, body=body, content_type=MERGE)
        except NotFound:
            return

    async def merge(self, observed: JSON, patch: JSON) -> JSON:
        """Merge-patch the observed object, and return it."""
        return await self._json("PATCH", resources.path_of(observed), body=patch, content_type=MERGE)

    async def annotate(self, observed: JSON, annotations: Mapping[str, str | None], manager: str) -> JSON:
        """Set annotations of exactly the observed object, as a separate field manager. None removes an annotation."""
        metadata = observed["metadata"]
        path = resources.path_of(observed)
        body = {"metadata": {"uid": metadata["uid"], "annotations": dict(annotations)}}
        return await self._json("PATCH", path, query={"fieldManager": manager}, body=body, content_type=MERGE)

    async def follow(self, resource: Resource, namespace: str, name: str) -> AsyncGenerator[JSON | None]:
        """Yield one object as it is now, and again after each change; None while it does not exist.

        It misses no change between the first read and the watch.
        """
        only = {"fieldSelector": f"metadata.name={name}"}
        while True:
            page = await self._json("GET", resource.path(namespace), query=only)
            yield page["items"][0] if page["items"] else None
            version = page["metadata"]["resourceVersion"]
            async with aclosing(self._events(resource, namespace, version, only)) as events:
                async for event in events:
                    yield None if event["type"] == "DELETED" else event["object"]

    async def watch(
        self, resource: Resource, namespace: str | None, labels: Mapping[str, str | None]
    ) -> AsyncIterator[JSON]:
        """Yield events of the objects with these labels from now on, until the API server ends the stream."""
        version = await self._version_of(resource, namespace, labels)
        async with aclosing(self._events(resource, namespace, version, selector_query(labels))) as events:
            async for event in events:
                yield event

    async def tell(self, resource: Resource, labels: Mapping[str, str | None]) -> AsyncGenerator[JSON]:
        """Yield an event LISTED with all objects of these labels, then every event of them until the stream ends.

        It reads all namespaces and misses nothing between list and watch. Raises `NotFound` if the kind is not known.
        """
        version, items = await self._list_page(resource, None, labels)
        yield {"type": "LISTED", "items": items}
        async with aclosing(self._events(resource, None, version, selector_query(labels))) as events:
            async for event in events:
                yield event

    async def events(
        self, resource: Resource, namespace: str | None, version: str, labels: Mapping[str, str | None]
    ) -> AsyncGenerator[JSON]:
        """Yield every event since a version, bookmarks too, until the API server ends the stream.

        The first event is OPENED, when the stream is open. Raises `Expired` if the API server no longer has the history
        since then.
        """
        async with aclosing(self._lines(resource, namespace, version, selector_query(labels))) as lines:
            async for event in lines:
                if event["type"] == "ERROR":
                    raise read_error_event(Asked("GET", resource.path(namespace)), event["object"])
                yield event

    async def _events(
        self, resource: Resource, namespace: str | None, version: str, selector: Mapping[str, str]
    ) -> AsyncGenerator[JSON]:
        """Yield events since a version of the collection, until the API server ends the stream."""
        with suppress(Expired):
            async with aclosing(self._lines(resource, namespace, version, selector)) as lines:
                async for event in lines:
                    if event["type"] == "ERROR":
                        return
                    if event["type"] not in ("BOOKMARK", "OPENED"):
                        yield event

    async def _lines(
        self, resource: Resource, namespace: str | None, version: str, selector: Mapping[str, str]
    ) -> AsyncGenerator[JSON]:
        """Yield the lines of a watch."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
            "resourceVersion": version,
            **selector,
        }
        timeout = aiohttp.ClientTimeout(
            total=WATCH_SECONDS + REQUEST_SECONDS, connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS
        )
        asked = Asked("GET", resource.path(namespace))
        try:
            async with self._session.get(
                self._url(asked.path), params=query, timeout=timeout, allow_redirects=False
            ) as answer:
                if answer.status == 410:
                    raise Expired(asked.path)
                await raise_for_answer(asked, answer)
                yield {"type": "OPENED", "object": {"metadata": {}}}
                splitter = LineSplitter()
                async for piece in answer.content.iter_any():
                    for line in splitter.feed(piece):
                        yield answers.read_event(asked, line)
                if not splitter.is_between_lines:
                    raise answers.report_unreadable(asked, "has a line that is no event, or broke off")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise as_unavailable(error) from error
        except LineTooLong:
            raise answers.report_unreadable(asked, "has a line that does not end") from None

    async def _version_of(self, resource: Resource, namespace: str | None, labels: Mapping[str, str | None]) -> str:
        page = await self._json("GET", resource.path(namespace), query={"limit": "1", **selector_query(labels)})
        version: str = page["metadata"]["resourceVersion"]
        return version

    # ---------------------------------------------------------------------------------------------- pods

    @asynccontextmanager
    async def portforward(self, namespace: str, pod: str, port: int) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a websocket to one port of a pod, with ``v4.channel.k8s.io``."""
        async with self._session.ws_connect(
            self._url(PODS.path(namespace, pod, "portforward")),
            params={"ports": str(port)},
            protocols=(PORT_FORWARD_PROTOCOL,),
            max_msg_size=ANSWER_LIMIT,
        ) as stream:
            yield stream

    async def read_log(self, namespace: str, pod: str, container: str, *, since: datetime, limit_bytes: int) -> str:
        """Return the first ``limit_bytes`` of the container's log after ``since``."""
        query = {
            "container": container,
            "sinceTime": times.format_time(since),
            "limitBytes": str(limit_bytes),
        }
        return await self._log(namespace, pod, query)

    async def read_last_log(
        self, namespace: str, pod: str, container: str, *, previous: bool, tail_lines: int, limit_bytes: int
    ) -> str:
        """Return the end of the container's log, or with ``previous`` that of the container before its last restart."""
        query = {"container": container, "tailLines": str(tail_lines), "limitBytes": str(limit_bytes)}
        return await self._log(namespace, pod, {**query, **({"previous": "true"} if previous else {})})

    async def _log(self, namespace: str, pod: str, query: Mapping[str, str]) -> str:
        asked = Asked("GET", PODS.path(namespace, pod, "log"))
        try:
            answer = await self._answer(asked, query=query)
        except NotFound as error:
            raise Transient(Reason.LOG_NOT_FOUND, error.message) from error
        return answers.read_text(asked, answer)

    async def read_log_head(self, namespace: str, pod: str, container: str, *, limit_bytes: int) -> str:
        """Return the first ``limit_bytes`` of the container's log; each line begins with its time and a space."""
        return await self._log(
            namespace, pod, {"container": container, "timestamps": "true", "limitBytes": str(limit_bytes)}
        )

    # ------------------------------------------------------------------------------------------- requests

    async def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: JSON | None = None,
        content_type: str = "application/json",
    ) -> JSON:
        asked = Asked(method, path)
        return answers.read(asked, await self._answer(asked, query=query, body=body, content_type=content_type))

    async def _answer(
        self,
        asked: Asked,
        *,
        query: Mapping[str, str] | None = None,
        body: JSON | None = None,
        content_type: str = "application/json",
    ) -> ServerAnswer:
        """Return a successful answer, after waiting for the limiter."""
        data = None if body is None else json.dumps(body)

        async def send() -> ServerAnswer:
            return await self._send(asked, query or {}, data, content_type)

        return await (send() if self._limiter is None else self._limiter.ask(send))

    async def _send(self, asked: Asked, query: Mapping[str, str], data: str | None, content_type: str) -> ServerAnswer:
        """Send one request. Redirects are not followed, because no API server sends one."""
        if self._fence is not None and asked.method not in answers.READS:
            self._fence()
            query = {**query, "timeout": f"{lease.WRITE_SECONDS}s"}
        try:
            async with self._session.request(
                asked.method,
                self._url(asked.path),
                params=query,
                data=data,
                headers={"Content-Type": content_type},
                allow_redirects=False,
            ) as answer:
                await raise_for_answer(asked, answer)
                return as_server_answer(answer, await read_at_most(answer, ANSWER_LIMIT))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise as_unavailable(error) from error

    def _url(self, path: str) -> str:
        return self.login.server + path


def identity(uid: str | None, version: str | None) -> dict[str, str]:
    """Return the uid and version that a write requires; empty for an object that did not exist."""
    return {key: value for key, value in (("uid", uid), ("resourceVersion", version)) if value}


def identity_of(observed: JSON) -> dict[str, str]:
    """Return the same for an observed object."""
    return identity(observed["metadata"]["uid"], observed["metadata"].get("resourceVersion"))


def selector_query(labels: Mapping[str, str | None]) -> dict[str, str]:
    """Return a label selector as a query parameter. None: the label exists, with any value."""
    wanted = (key if value is None else f"{key}={value}" for key, value in sorted(labels.items()))
    return {"labelSelector": ",".join(wanted)} if labels else {}


async def read_at_most(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the body. Raises `Transient` if it exceeds ``limit`` bytes."""
    parts, size = [], 0
    async for part in answer.content.iter_chunked(2**18):
        size += len(part)
        if size > limit:
            text = f"the API server's answer is larger than {limit} bytes"
            raise Transient(Reason.ANSWER_TOO_LARGE, text, "Narrow the selector")
        parts.append(part)
    return b"".join(parts)


def as_server_answer(answer: aiohttp.ClientResponse, body: bytes) -> ServerAnswer:
    """Return the answer in the core's form."""
    media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return ServerAnswer(answer.status, body, media_type, answer.headers.get("Retry-After", ""))


async def raise_for_answer(asked: Asked, answer: aiohttp.ClientResponse) -> None:
    """Raise the error of an answer that is not a success."""
    if 200 <= answer.status < 300:
        return
    body = await read_at_most(answer, FAILURE_LIMIT)
    raise answers.read_failure(asked, as_server_answer(answer, body), datetime.now(UTC))


def read_error_event(asked: Asked, status: JSON) -> ReleaseError | NotFound | Expired:
    """Return the error of a metav1.Status in a watch."""
    if status.get("code") == 410:
        return Expired(str(status.get("message", "")))
    answer = ServerAnswer(int(status.get("code") or 500), json.dumps(status).encode())
    return answers.read_failure(asked, answer, datetime.now(UTC))


def explain_not_found(manifest: JSON, error: NotFound) -> Waiting:
    """Return the error of a 404 to an apply: the namespace or the kind does not exist."""
    remedies = {kind.api_version: kind.install for kind in providers.TARGETS}
    if not error.served:
        return Waiting(
            Reason.KIND_NOT_INSTALLED,
            f"the API server does not know {manifest['apiVersion']} {manifest['kind']}",
            remedies.get(manifest["apiVersion"], "Install its CustomResourceDefinition"),
        )
    return Waiting(
        Reason.NAMESPACE_NOT_FOUND, error.message, "Create the namespace, or name another in gateway.namespace"
    )


def as_unavailable(error: BaseException) -> Transient:
    """Return the error of an API server that did not answer."""
    text = str(error) or type(error).__name__
    remedy = "Look at the API server and at the network between; it is tried again"
    return Transient(Reason.API_SERVER_UNAVAILABLE, f"the API server could not be reached: {text}", remedy)
