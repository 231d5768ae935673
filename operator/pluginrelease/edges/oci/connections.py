"""HTTP connections with a deadline and configured CAs, for `pluginrelease.edges.oci.distribution`."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import requests.adapters
import urllib3

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused

RECHECK = 60.0  # seconds until the file is read again, in case it was replaced


class Deadline:
    """End a call in time: at the deadline, shut down every connection that the call opened.

    A timeout of requests counts from one byte to the next. A server that sends a byte now and then would block a thread
    without end.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self.expired = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for duplicate in self._sockets:
                duplicate.close()
            self._sockets.clear()

    def left(self) -> float:
        """Return the seconds until the deadline; never zero, which some libraries read as no timeout."""
        return max(self._end - time.monotonic(), 0.001)

    def watch(self, connection: socket.socket) -> None:
        """Remember a connection by a duplicate, because TLS wraps the socket and hides it."""
        duplicate = socket.socket(fileno=os.dup(connection.fileno()))
        with self._lock:
            self._sockets.append(duplicate)
        if self.expired:
            self._expire()

    def _expire(self) -> None:
        self.expired = True
        with self._lock:
            for duplicate in self._sockets:
                with suppress(OSError):
                    duplicate.shutdown(socket.SHUT_RDWR)


class Adapter(requests.adapters.HTTPAdapter):
    """Connections that a deadline watches."""

    def __init__(self, deadline: Deadline, authorities: bytes | None, registry_ca: bytes | None) -> None:
        self._deadline = deadline
        # urllib3 adds the system's authorities (`trusted`) to those of the context
        more = authorities is not None or registry_ca is not None
        self._tls: dict[str, Any] = {"ssl_context": make_context(authorities, registry_ca)} if more else {}
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **(kwargs | self._tls))
        self._watch(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return self._watch(super().proxy_manager_for(*args, **(kwargs | self._tls)))

    def _watch(self, manager: Any) -> Any:
        manager.pool_classes_by_scheme = {
            scheme: self._watched(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
        }
        return manager

    def _watched(self, pool: Any) -> Any:
        deadline = self._deadline
        if getattr(pool, "watched", False):  # requests reuses its proxy managers
            return pool

        class Connection(pool.ConnectionCls):  # type: ignore[misc]
            def connect(self) -> None:
                super().connect()
                deadline.watch(self.sock)

        return type("Pool", (pool,), {"ConnectionCls": Connection, "watched": True})


def make_context(authorities: bytes | None, registry_ca: bytes | None) -> ssl.SSLContext:
    """Return a TLS context that trusts the PEM certificates of a release and of the operator.

    Raises `Refused` (InvalidCASecret, InvalidRegistryCA). No message contains the bytes.
    """
    context = urllib3.util.ssl_.create_urllib3_context()
    if registry_ca is not None:
        _trust(context, registry_ca, refuse_registry_ca("it is not PEM certificates"))
    if authorities is not None:
        _trust(context, authorities, _refuse_ca_secret())
    return context


def _trust(context: ssl.SSLContext, pem: bytes, unusable: Refused) -> None:
    try:
        context.load_verify_locations(cadata=pem.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise unusable from None


def _refuse_ca_secret() -> Refused:
    return Refused(
        Reason.INVALID_CA_SECRET,
        "The certificates in artifact.image.caSecretRef cannot be used: ca.crt is not PEM certificates",
        "Put the certificate of the registry's authority into the key ca.crt, as PEM.",
    )


def refuse_registry_ca(why: str) -> Refused:
    """Return the error for an unusable file of CA certificates for all registries."""
    return Refused(
        Reason.INVALID_REGISTRY_CA,
        f"The operator's --registry-ca-file cannot be used: {why}",
        "Put the authorities' certificates into it, as PEM; with the chart into operator.registryCAConfigMap.",
        recheck=RECHECK,
    )


def find_authorities() -> str | bool:
    """Return the path of the trusted CAs, or True for the usual ones.

    requests reads this from the environment only together with ~/.netrc.
    """
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True
