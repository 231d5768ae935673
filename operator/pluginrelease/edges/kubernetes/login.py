"""How to reach the API server and as whom: a kubeconfig, or the pod's ServiceAccount."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import ClientHandlerType
from kubernetes.aio import config as kubeconfig
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from yarl import URL

from pluginrelease import __version__
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused
from pluginrelease.edges.kubernetes.contact import Contact

# the kubelet sets it in every container
IN_POD = "KUBERNETES_SERVICE_HOST"


class Login:
    """Where the API server is, and as whom the requests of every session go there.

    Credentials are looked up at each request, so a token that the kubelet renews on disk is taken within a minute (the
    client's own period). After an answer 401 they are read again at once.
    """

    def __init__(self, path: Path | None, context: str | None, found: Configuration) -> None:
        self._path, self._context = path, context
        self._configuration = found

    @classmethod
    async def read(cls, path: Path | None = None, context: str | None = None) -> Self:
        """As `Cluster.connect` takes them."""
        return cls(path, context, await read_configuration(path, context))

    @property
    def server(self) -> str:
        """Its URL, without a slash at the end."""
        return str(self._configuration.host).rstrip("/")

    def session(self, contact: Contact | None, **options: Any) -> aiohttp.ClientSession:
        """A session with TLS as the configuration wants it; ``options`` are those of `aiohttp.ClientSession`."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=RESTClientObject(self._configuration).ssl_context, limit=0),
            headers={"User-Agent": f"pluginrelease/{__version__}"},
            middlewares=[*([contact.note] if contact else []), self._authorize],
            **options,
        )

    async def renew(self) -> None:
        """Read the files again, for all sessions. Raises `Refused` (KubeconfigUnusable) as `configuration` does."""
        self._configuration = await read_configuration(self._path, self._context)

    async def _authorize(self, request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        """A middleware that adds the token; another server, where a redirect may lead, does not get it."""
        if origin(request.url) != origin(URL(self.server)):
            return await handler(request)
        used = await self._write_token(request)
        answer = await handler(request)
        if answer.status != 401:
            return answer
        with suppress(Refused):
            await self.renew()
        if await self._write_token(request) == used:
            return answer
        answer.release()
        return await handler(request)

    async def _write_token(self, request: aiohttp.ClientRequest) -> str | None:
        """Returns the token."""
        try:
            token = strip_scheme(await self._configuration.get_api_key_with_prefix("BearerToken"))
        except (OSError, kubeconfig.ConfigException) as error:
            raise aiohttp.ClientConnectionError(f"the credentials cannot be read: {error}") from error
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        return token


def origin(url: URL) -> tuple[str, str | None, int | None]:
    """Return which server a URL is of, whichever way its address is written."""
    return url.scheme, url.raw_host, url.port


def strip_scheme(scheme_and_token: str | None) -> str | None:
    """The token alone: a kubeconfig's comes as ``Bearer …``, and a pod's as ``bearer …``; both may end in a newline."""
    return (scheme_and_token or "").strip().rpartition(" ")[2] or None


async def read_configuration(path: Path | None, context: str | None = None) -> Configuration:
    """By a kubeconfig file; without one by the pod's ServiceAccount, else by KUBECONFIG or the user's own file."""
    found, in_pod = Configuration(), ""
    if path is None and context is None:
        try:
            kubeconfig.load_incluster_config(client_configuration=found)
            return found
        except (kubeconfig.ConfigException, OSError) as error:
            in_pod = f"; nor can the pod's ServiceAccount: {error}" if IN_POD in os.environ else ""
    file = kubeconfig.KUBE_CONFIG_DEFAULT_LOCATION if path is None else str(path)
    try:
        await kubeconfig.load_kube_config(config_file=file, context=context, client_configuration=found)
    except (kubeconfig.ConfigException, OSError, yaml.YAMLError, TypeError, AttributeError) as error:
        raise refuse_kubeconfig(file, f"{error}{in_pod}") from error
    return found


def read_namespace(path: Path, context: str | None = None) -> str:
    """The namespace that a context of a kubeconfig names; `Refused` (KubeconfigUnusable) without a usable file."""
    if not any(Path(file).is_file() for file in str(path).split(os.pathsep)):
        raise refuse_kubeconfig(path, "there is no such file")
    try:
        contexts, current = kubeconfig.list_kube_config_contexts(config_file=str(path))
    except (kubeconfig.ConfigException, OSError, yaml.YAMLError) as error:
        raise refuse_kubeconfig(path, error) from error
    chosen = current if context is None else next((entry for entry in contexts if entry["name"] == context), None)
    if chosen is None:
        known = ", ".join(sorted(entry["name"] for entry in contexts)) or "none"
        raise refuse_kubeconfig(path, f"it has no context {context}; there is: {known}")
    namespace: str = (chosen.get("context") or {}).get("namespace") or "default"
    return namespace


def refuse_kubeconfig(path: Path | str, why: object) -> Refused:
    """A kubeconfig that nobody can log in with."""
    remedy = "Name another with --kubeconfig, KUBECONFIG or --context"
    return Refused(
        Reason.KUBECONFIG_UNUSABLE, f"the kubeconfig {path} cannot be used: {' '.join(str(why).split())}", remedy
    )
