"""The few calls the lab makes to its own API server: write an object whole, patch, list and watch."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import yaml

from pluginrelease_lab.files import write_private

Object = dict[str, Any]

_FIELD_MANAGER = "pluginrelease-lab"
_CALL_TIMEOUT = aiohttp.ClientTimeout(total=30)
_WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10)
_WATCH_SECONDS = 300
_LINE_LIMIT = 8 * 1024 * 1024
_RETRY_EVERY = 0.1


class ApiError(Exception):
    """The API server answered with an error. ``status`` is the HTTP code."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class KubeApi:
    """A client of one API server at ``address`` (https://…), authenticated by a bearer token."""

    def __init__(self, address: str, token: str, ca_file: Path) -> None:
        self._address = address
        context = ssl.create_default_context(cafile=str(ca_file))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            headers={"Authorization": f"Bearer {token}"},
            read_bufsize=_LINE_LIMIT,
        )

    async def __aenter__(self) -> KubeApi:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._session.close()

    async def text(self, path: str) -> str:
        """The body of a GET. Raises ApiError for any answer but a 2xx."""
        async with self._session.get(self._address + path, timeout=_CALL_TIMEOUT) as answer:
            body = await answer.text()
            if answer.status >= 300:
                raise ApiError(answer.status, body[:500])
            return body

    async def get(self, path: str) -> Object:
        return _object(await self.text(path))

    async def send(self, method: str, path: str, body: Object, kind: str = "application/json") -> Object:
        """Send a body and return the object in the answer. Raises ApiError for any answer but a 2xx."""
        async with self._session.request(
            method,
            self._address + path,
            data=json.dumps(body),
            headers={"Content-Type": kind},
            timeout=_CALL_TIMEOUT,
        ) as answer:
            text = await answer.text()
            if answer.status >= 300:
                raise ApiError(answer.status, text[:500])
            return _object(text)

    async def apply(self, manifest: Object) -> Object:
        """Server-side apply of one whole object."""
        query = f"?fieldManager={_FIELD_MANAGER}&force=true"
        return await self.send("PATCH", path_of(manifest) + query, manifest, "application/apply-patch+yaml")

    async def apply_when_known(self, manifest: Object) -> Object:
        """Like `apply`, and waits while its kind or its namespace is still being set up. The caller sets a deadline."""
        while True:
            try:
                return await self.apply(manifest)
            except ApiError as error:
                if error.status != 404:
                    raise
            await asyncio.sleep(_RETRY_EVERY)

    async def patch_status(self, path: str, status: Object) -> Object:
        return await self.send("PATCH", f"{path}/status", {"status": status}, "application/merge-patch+json")

    async def watch(self, path: str, query: str = "") -> AsyncIterator[tuple[str, Object]]:
        """Everything there is as ADDED, then each change, as (type, object); ends when the server ends it."""
        url = f"{self._address}{path}?watch=1&timeoutSeconds={_WATCH_SECONDS}&{query}"
        async with self._session.get(url, timeout=_WATCH_TIMEOUT) as answer:
            if answer.status >= 300:
                raise ApiError(answer.status, (await answer.text())[:500])
            async for line in answer.content:
                event = _object(line)
                yield str(event["type"]), event["object"]


def _object(text: str | bytes) -> Object:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ApiError(502, "the answer is not a JSON object")
    return value


_CLUSTER_WIDE = {"Namespace", "Node", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}


def collection_of(manifest: Mapping[str, Any]) -> str:
    """The path of the collection that an object belongs to, by the rules by which kinds are made plural."""
    version, kind = str(manifest["apiVersion"]), str(manifest["kind"])
    plural = _plural(kind.lower())
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    if kind in _CLUSTER_WIDE:
        return f"{root}/{plural}"
    return f"{root}/namespaces/{manifest['metadata']['namespace']}/{plural}"


def _plural(kind: str) -> str:
    if kind.endswith("s"):
        return kind
    return f"{kind[:-1]}ies" if kind[-1] == "y" and kind[-2] not in "aeiou" else f"{kind}s"


def path_of(manifest: Mapping[str, Any]) -> str:
    return f"{collection_of(manifest)}/{manifest['metadata']['name']}"


def read_manifests(text: str) -> list[Object]:
    """The objects of a YAML stream."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [item for item in yaml.load_all(text, loader) if item]


def write_kubeconfig(path: Path, *, server: str, ca: bytes, token: str, namespace: str = "default") -> Path:
    """A kubeconfig with one context, readable by its owner alone."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "lab",
                "cluster": {"server": server, "certificate-authority-data": base64.b64encode(ca).decode()},
            }
        ],
        "users": [{"name": "lab", "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab", "namespace": namespace}}],
        "current-context": "lab",
    }
    write_private(path, yaml.safe_dump(content, sort_keys=False))
    return path
