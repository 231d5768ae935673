"""The lab's few calls to its own API server: write a whole object, patch, list, watch and forward a port."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
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
_PORT_FORWARD = "v4.channel.k8s.io"


class ApiError(Exception):
    """The API server answered with an error. ``status`` is the HTTP code."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class KubeApi:
    """A client of one API server at ``address`` (https://…), authenticated with a bearer token.

    ``ca``: the CA of the server's certificate as PEM, if there is no ``ca_file``.
    """

    def __init__(self, address: str, token: str, ca_file: Path | None = None, *, ca: str | None = None) -> None:
        self._address = address
        context = ssl.create_default_context(cafile=ca_file, cadata=ca)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            headers={"Authorization": f"Bearer {token}"},
            read_bufsize=_LINE_LIMIT,
        )

    @classmethod
    def of(cls, kubeconfig: Path) -> KubeApi:
        """Return a client for a kubeconfig that `write_kubeconfig` wrote."""
        content = yaml.safe_load(kubeconfig.read_text())
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return cls(cluster["server"], user["token"], ca=ca)

    async def __aenter__(self) -> KubeApi:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._session.close()

    async def text(self, path: str) -> str:
        """Return the body of a GET. Raises ApiError for any answer except 2xx."""
        async with self._session.get(self._address + path, timeout=_CALL_TIMEOUT) as answer:
            body = await answer.text()
            if answer.status >= 300:
                raise ApiError(answer.status, body[:500])
            return body

    async def get(self, path: str) -> Object:
        return _object(await self.text(path))

    async def send(self, method: str, path: str, body: Object, kind: str = "application/json") -> Object:
        """Send a body; return the object in the answer. Raises ApiError for any answer except 2xx."""
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
        """Apply one whole object with server-side apply."""
        query = f"?fieldManager={_FIELD_MANAGER}&force=true"
        return await self.send("PATCH", path_of(manifest) + query, manifest, "application/apply-patch+yaml")

    async def apply_when_known(self, manifest: Object) -> Object:
        """Apply, and wait while the kind or the namespace is being created. The caller sets a deadline."""
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
        """Yield all objects as ADDED, then each change, as (type, object); end when the server ends it."""
        url = f"{self._address}{path}?watch=1&timeoutSeconds={_WATCH_SECONDS}&{query}"
        async with self._session.get(url, timeout=_WATCH_TIMEOUT) as answer:
            if answer.status >= 300:
                raise ApiError(answer.status, (await answer.text())[:500])
            async for line in answer.content:
                event = _object(line)
                yield str(event["type"]), event["object"]

    @contextlib.asynccontextmanager
    async def port_forward(self, namespace: str, pod: str, port: int) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a stream to a pod's port: each message begins with its channel, 0 for data and 1 for an error's text.

        The first message of each channel is the port's number.
        """
        url = f"{self._address}/api/v1/namespaces/{namespace}/pods/{pod}/portforward?ports={port}"
        async with self._session.ws_connect(url, protocols=[_PORT_FORWARD]) as stream:
            yield stream


def _object(text: str | bytes) -> Object:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ApiError(502, "the answer is not a JSON object")
    return value


_CLUSTER_WIDE = {"Namespace", "Node", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}


def collection_of(manifest: Mapping[str, Any]) -> str:
    """Return the path of an object's collection. The plural follows Kubernetes' rules."""
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
    """Return the objects of a YAML stream."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [item for item in yaml.load_all(text, loader) if item]


def read_documents(lines: Iterable[str]) -> Iterator[Object]:
    """Yield the JSON objects that ``kubectl get --watch -o json`` prints."""
    text = ""
    for line in lines:
        text += line
        if line.rstrip() == "}":
            yield _object(text)
            text = ""


def write_kubeconfig(path: Path, *, server: str, ca: bytes, token: str, namespace: str = "default") -> Path:
    """Write a kubeconfig with one context that only its owner can read."""
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
