"""Where the API server is and which identity to use: a kubeconfig, or the pod's ServiceAccount."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import AddrInfoType, ClientHandlerType
from kubernetes.aio import config as kubeconfig
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from yarl import URL

from pluginrelease import __version__
from pluginrelease.api.reasons import Reason
from pluginrelease.core.apiserver import proxies
from pluginrelease.core.errors import Refused
from pluginrelease.edges.kubernetes.contact import Contact

# the kubelet sets it in every container
IN_POD = "KUBERNETES_SERVICE_HOST"

# seconds of silence before the first keepalive probe, seconds between two probes, and their number. A watch whose
# connection was cut ends after 25 s. No proxy drops a connection because it is silent.
KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


class Login:
    """The API server's address, and the identity for the requests of every session.

    Credentials are looked up at each request. So a token that the kubelet renews on disk is used within a minute (the
    client's own period). After an answer 401 they are read again at once.
    """

    def __init__(self, path: Path | None, context: str | None, found: Configuration, agent: str = "") -> None:
        self._path, self._context = path, context
        self._configuration = found
        self._agent = f"pluginrelease/{__version__}" + (f" ({agent})" if agent else "")

    @classmethod
    async def read(cls, path: Path | None = None, context: str | None = None, *, agent: str = "") -> Self:
        """Read the login as `Cluster.connect` does.

        ``agent``: an addition to the User-Agent, such as the pod's name.
        """
        return cls(path, context, await read_configuration(path, context), agent)

    @property
    def server(self) -> str:
        """Return the API server's URL without a slash at the end."""
        return str(self._configuration.host).rstrip("/")

    @property
    def proxy(self) -> str | None:
        """Return the proxy to the API server; None if there is none, as within a cluster."""
        is_in_cluster = self._path is None and self._context is None and IN_POD in os.environ
        return None if is_in_cluster else proxies.choose(self.server, os.environ)

    def session(
        self, contact: Contact | None, *, is_kopfs: bool = False, connections: int = 0, **options: Any
    ) -> aiohttp.ClientSession:
        """Return a session with the configured TLS. ``options`` are those of `aiohttp.ClientSession`.

        ``connections``: the maximum; 0: no limit. With TLS each takes 256 KiB.
        """
        noting = [] if contact is None else [contact.note if is_kopfs else contact.note_own]
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=RESTClientObject(self._configuration).ssl_context, limit=connections, socket_factory=make_socket
            ),
            headers={"User-Agent": self._agent},
            proxy=self.proxy,
            middlewares=[*noting, self._authorize],
            **options,
        )

    async def renew(self) -> None:
        """Read the files again, for all sessions. Raises `Refused` (KubeconfigUnusable) as `configuration` does."""
        self._configuration = await read_configuration(self._path, self._context)

    async def _authorize(self, request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        """Add the token, as a middleware. Another server, to which a redirect may lead, does not get it."""
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
        """Set the header, and return the token."""
        try:
            token = strip_scheme(await self._configuration.get_api_key_with_prefix("BearerToken"))
        except (OSError, kubeconfig.ConfigException) as error:
            raise aiohttp.ClientConnectionError(f"the credentials cannot be read: {error}") from error
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        return token


def make_socket(address: AddrInfoType) -> socket.socket:
    """Return a socket that notices when its peer is gone, as far as the system can (tcp(7))."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


def origin(url: URL) -> tuple[str, str | None, int | None]:
    """Return the server of a URL in one form, for all ways to write its address."""
    return url.scheme, url.raw_host, url.port


def strip_scheme(scheme_and_token: str | None) -> str | None:
    """Return only the token: kubeconfigs have ``Bearer …``, pods ``bearer …``; both may end in a newline."""
    return (scheme_and_token or "").strip().rpartition(" ")[2] or None


async def read_configuration(path: Path | None, context: str | None = None) -> Configuration:
    """Read a kubeconfig file; without one the pod's ServiceAccount, else KUBECONFIG or the user's own file."""
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
    """Return the namespace of a kubeconfig's context. Raises `Refused` (KubeconfigUnusable)."""
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
    """Return the error of a kubeconfig that cannot be used to log in."""
    remedy = "Name another with --kubeconfig, KUBECONFIG or --context"
    return Refused(
        Reason.KUBECONFIG_UNUSABLE, f"the kubeconfig {path} cannot be used: {' '.join(str(why).split())}", remedy
    )
