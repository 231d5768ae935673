"""The API server's objects, watches, logs and port-forwards. Objects are plain mappings; nothing is decided.

Answers that are no success are raised as `core.apiserver.answers` reads them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import aiohttp

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.apiserver import answers, applied
from pluginrelease.core.apiserver.answers import Asked, NotFound, ServerAnswer
from pluginrelease.core.errors import Transient, Waiting
from pluginrelease.core.gateway import logs
from pluginrelease.core.mesh import providers
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.contact import Contact
from pluginrelease.edges.kubernetes.login import Login
from pluginrelease.edges.kubernetes.resources import JSON, PODS, RELEASES, Resource

REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 10.0
WATCH_SECONDS = 300

# etcd keeps objects of 1.5 MB at most; a list of 500 pods of 20 kB each is 10 MB
ANSWER_LIMIT = 64 * 1024 * 1024

# a refusal repeats what it refuses, which is 3 MiB at most
FAILURE_LIMIT = 4 * 1024 * 1024
PAGE = 500
TIMESTAMP_BYTES = 64  # of a line, more than its time takes
PORT_FORWARD_PROTOCOL = "v4.channel.k8s.io"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class Cluster:
    """One connection to one API server; use as an asynchronous context manager."""

    def __init__(self, login: Login, contact: Contact | None = None) -> None:
        self.login = login
        self._session = login.session(
            contact,
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS, connect=CONNECT_SECONDS),
            trust_env=True,
            read_bufsize=2**20,
        )

    @classmethod
    async def connect(
        cls, path: Path | None = None, context: str | None = None, contact: Contact | None = None
    ) -> Self:
        """By a kubeconfig file, else by the pod's ServiceAccount, else by the user's own kubeconfig.

        ``context`` is one of the file's; None: its current one. ``contact`` takes notes of every answer.
        """
        return cls(await Login.read(path, context), contact)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    # ------------------------------------------------------------------------------------------- objects

    async def get(self, resource: Resource, namespace: str | None, name: str) -> JSON | None:
        """The object, or None when there is none of that name."""
        try:
            return await self._json("GET", resource.path(namespace, name))
        except NotFound:
            return None

    async def list(self, resource: Resource, namespace: str | None, labels: Mapping[str, str]) -> list[JSON]:
        """All objects with these labels, page by page; ``namespace`` None: of every namespace."""
        return [*(await self._listing(resource, namespace, labels))[1]]

    async def _listing(
        self, resource: Resource, namespace: str | None, labels: Mapping[str, str]
    ) -> tuple[str, Sequence[JSON]]:
        """The version of the collection, and the objects in it then."""
        items: list[JSON] = []
        query = {"limit": str(PAGE), **selector_query(labels)}
        while True:
            page = await self._json("GET", resource.path(namespace), query=query)
            items += page["items"]
            rest = page["metadata"].get("continue")
            if not rest:
                return page["metadata"]["resourceVersion"], items
            query = {**query, "continue": rest}

    async def apply(self, manifest: JSON, *, uid: str | None) -> JSON:
        """Server-side apply of one whole object, as field manager ``pluginrelease``.

        With a ``uid`` the object must still be that one, and our fields are taken by force. Without one the object
        was not there: the apply takes no field from anybody, so an object that somebody made meanwhile is a conflict
        and not a victim.
        """
        metadata = manifest["metadata"]
        body = manifest if uid is None else {**manifest, "metadata": {**metadata, "uid": uid}}
        try:
            return await self._apply(resources.path_of(manifest), body, force=uid is not None)
        except NotFound as error:
            raise explain_not_found(manifest, error) from error

    async def _apply(self, path: str, body: JSON, *, force: bool) -> JSON:
        """Server-side apply, and again where its merge made null of a map that was given up (`applied`)."""
        query = {"fieldManager": api.FIELD_MANAGER, **({"force": "true"} if force else {})}
        wanted = applied.without_empties(body)
        answer = await self._json("PATCH", path, query=query, body=wanted, content_type=APPLY)
        if applied.has_nulled_maps(wanted, answer):
            answer = await self._json("PATCH", path, query=query, body=wanted, content_type=APPLY)
        return answer

    async def apply_status(self, release: api.Release, status: api.Status) -> None:
        """Server-side apply of the whole status. An object that is gone meanwhile has no status to write."""
        own = release.metadata
        await self.apply_raw_status({"name": own.name, "namespace": own.namespace, "uid": own.uid}, status.wire())

    async def apply_raw_status(self, metadata: JSON, status: JSON) -> None:
        """The same for a release that the models may not fit, by its metadata."""
        own = {part: metadata[part] for part in ("name", "namespace", "uid")}
        body = {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": own, "status": status}
        try:
            await self._apply(RELEASES.path(own["namespace"], own["name"], "status"), body, force=True)
        except NotFound:
            return

    async def delete(self, observed: JSON) -> None:
        """Deletes exactly the object that was observed; one that is gone, or was made anew, is left alone."""
        metadata = observed["metadata"]
        path = resources.path_of(observed)
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": metadata["uid"]}}
        try:
            await self._json("DELETE", path, body=body)
        except NotFound:
            return

    async def disown(self, observed: JSON) -> None:
        """Takes owner references and our uid off an object that is to outlive its release: it is nobody's then."""
        metadata = observed["metadata"]
        path = resources.path_of(observed)
        labels = {api.UID_LABEL: None}
        body = {"metadata": {"uid": metadata["uid"], "ownerReferences": None, "labels": labels}}
        try:
            await self._json("PATCH", path, query={"fieldManager": api.FIELD_MANAGER}, body=body, content_type=MERGE)
        except NotFound:
            return

    async def annotate(self, observed: JSON, annotations: Mapping[str, str], manager: str) -> JSON:
        """Sets annotations of exactly the object that was observed, as a field manager of its own."""
        metadata = observed["metadata"]
        path = resources.path_of(observed)
        body = {"metadata": {"uid": metadata["uid"], "annotations": dict(annotations)}}
        return await self._json("PATCH", path, query={"fieldManager": manager}, body=body, content_type=MERGE)

    async def follow(self, resource: Resource, namespace: str, name: str) -> AsyncGenerator[JSON | None]:
        """One object as it is, and again after every change of it; None while there is none of that name.

        Nothing that happens between the first look and the watch is missed.
        """
        only = {"fieldSelector": f"metadata.name={name}"}
        while True:
            page = await self._json("GET", resource.path(namespace), query=only)
            yield page["items"][0] if page["items"] else None
            version = page["metadata"]["resourceVersion"]
            async with aclosing(self._events(resource, namespace, version, only)) as events:
                async for event in events:
                    yield None if event["type"] == "DELETED" else event["object"]

    async def watch(self, resource: Resource, namespace: str | None, labels: Mapping[str, str]) -> AsyncIterator[JSON]:
        """Events of the objects with these labels, from now on, until the API server ends the stream."""
        version = await self._version_of(resource, namespace, labels)
        async with aclosing(self._events(resource, namespace, version, selector_query(labels))) as events:
            async for event in events:
                yield event

    async def tell(self, resource: Resource, labels: Mapping[str, str]) -> AsyncGenerator[JSON]:
        """An event LISTED with the objects of these labels in any namespace, then every event of them, until the API
        server ends the stream. Nothing between the two is missed. Raises `NotFound` where the kind is not known."""
        version, items = await self._listing(resource, None, labels)
        yield {"type": "LISTED", "items": items}
        async with aclosing(self._events(resource, None, version, selector_query(labels))) as events:
            async for event in events:
                yield event

    async def _events(
        self, resource: Resource, namespace: str | None, version: str, selector: Mapping[str, str]
    ) -> AsyncGenerator[JSON]:
        """Events since a version of the collection, until the API server ends the stream."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
            "resourceVersion": version,
            **selector,
        }
        timeout = aiohttp.ClientTimeout(total=WATCH_SECONDS + REQUEST_SECONDS, connect=CONNECT_SECONDS)
        asked = Asked("GET", resource.path(namespace))
        try:
            async with self._session.get(
                self._url(asked.path), params=query, timeout=timeout, allow_redirects=False
            ) as answer:
                await raise_for_answer(asked, answer)
                async for line in answer.content:
                    event = answers.read_event(asked, line)
                    if event["type"] == "ERROR":
                        return
                    if event["type"] != "BOOKMARK":
                        yield event
        except (aiohttp.ClientError, TimeoutError) as error:
            raise as_unavailable(error) from error
        except ValueError:  # aiohttp's, of a line that does not end
            raise answers.report_unreadable(asked, "has a line that does not end") from None

    async def _version_of(self, resource: Resource, namespace: str | None, labels: Mapping[str, str]) -> str:
        page = await self._json("GET", resource.path(namespace), query={"limit": "1", **selector_query(labels)})
        version: str = page["metadata"]["resourceVersion"]
        return version

    # ---------------------------------------------------------------------------------------------- pods

    @asynccontextmanager
    async def portforward(self, namespace: str, pod: str, port: int) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A websocket to one port of a pod, spoken as ``v4.channel.k8s.io``."""
        async with self._session.ws_connect(
            self._url(PODS.path(namespace, pod, "portforward")),
            params={"ports": str(port)},
            protocols=(PORT_FORWARD_PROTOCOL,),
            max_msg_size=ANSWER_LIMIT,
        ) as stream:
            yield stream

    async def read_log(self, namespace: str, pod: str, container: str, *, since: datetime, limit_bytes: int) -> str:
        """The container's log since a time, at most ``limit_bytes`` of it."""
        query = {
            "container": container,
            "sinceTime": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "limitBytes": str(limit_bytes),
        }
        return await self._log(namespace, pod, query)

    async def read_last_log(
        self, namespace: str, pod: str, container: str, *, previous: bool, tail_lines: int, limit_bytes: int
    ) -> str:
        """The end of the container's log, or with ``previous`` of that of the one that the kubelet started it after."""
        query = {"container": container, "tailLines": str(tail_lines), "limitBytes": str(limit_bytes)}
        return await self._log(namespace, pod, {**query, **({"previous": "true"} if previous else {})})

    async def _log(self, namespace: str, pod: str, query: Mapping[str, str]) -> str:
        asked = Asked("GET", PODS.path(namespace, pod, "log"))
        try:
            answer = await self._answer(asked, query=query)
        except NotFound as error:
            raise Transient(Reason.LOG_NOT_FOUND, error.message) from error
        return answers.read_text(asked, answer)

    async def log_begins(self, namespace: str, pod: str, container: str) -> datetime | None:
        """When the first line of the container's log was written; None for an empty one."""
        query = {"container": container, "timestamps": "true", "limitBytes": str(TIMESTAMP_BYTES)}
        asked = Asked("GET", PODS.path(namespace, pod, "log"))
        answer = await self._answer(asked, query=query)
        return logs.parse_time(answers.read_text(asked, answer).partition(" ")[0])

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
        """The answer of a success; no redirect is followed, as no API server sends one."""
        data = None if body is None else json.dumps(body)
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


def selector_query(labels: Mapping[str, str]) -> dict[str, str]:
    """Equality-based label selector as a query parameter."""
    return {"labelSelector": ",".join(f"{key}={value}" for key, value in sorted(labels.items()))} if labels else {}


async def read_at_most(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body; `Transient` when it is larger than ``limit`` bytes."""
    parts, size = [], 0
    async for part in answer.content.iter_chunked(2**18):
        size += len(part)
        if size > limit:
            text = f"the API server's answer is larger than {limit} bytes"
            raise Transient(Reason.ANSWER_TOO_LARGE, text, "Narrow the selector")
        parts.append(part)
    return b"".join(parts)


def as_server_answer(answer: aiohttp.ClientResponse, body: bytes) -> ServerAnswer:
    """An answer as the core reads it."""
    media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return ServerAnswer(answer.status, body, media_type, answer.headers.get("Retry-After", ""))


async def raise_for_answer(asked: Asked, answer: aiohttp.ClientResponse) -> None:
    """Turns an answer that is no success into what happens next."""
    if 200 <= answer.status < 300:
        return
    body = await read_at_most(answer, FAILURE_LIMIT)
    raise answers.read_failure(asked, as_server_answer(answer, body), datetime.now(UTC))


def explain_not_found(manifest: JSON, error: NotFound) -> Waiting:
    """A 404 to an apply: the namespace is not there, or the kind is not."""
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
    """The API server did not answer at all."""
    text = str(error) or type(error).__name__
    remedy = "Look at the API server and at the network between; it is tried again"
    return Transient(Reason.API_SERVER_UNAVAILABLE, f"the API server could not be reached: {text}", remedy)
