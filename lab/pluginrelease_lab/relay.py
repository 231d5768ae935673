"""Forward connections between networks: from the host's loopback into the lab, and into a gateway."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import Awaitable, Callable

from pluginrelease_lab import network

_CHUNK = 256 * 1024
_CONNECT_TIMEOUT = 10.0
_WAITING_CONNECTIONS = 128
_REQUEST_HEAD_LIMIT = 64 * 1024

Connect = Callable[[], Awaitable[socket.socket]]


class Relay:
    """Forward every connection to the target of ``connect``. Until `open` the socket refuses connections."""

    def __init__(self, listener: socket.socket, connect: Connect) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._connect = connect
        self._carried: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def open(self) -> None:
        """Accept connections from now on; do nothing if it already does."""
        if self._accepting is None:
            self._listener.listen(_WAITING_CONNECTIONS)
            self._accepting = asyncio.ensure_future(self._accept())

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        with self._listener:  # closed here and not in `close`: the event loop must first have released it
            while True:
                client, _ = await loop.sock_accept(self._listener)
                task = asyncio.ensure_future(self._serve(client))
                self._carried.add(task)
                task.add_done_callback(self._carried.discard)

    async def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT):
                    target = await self._connect()
            except (OSError, TimeoutError):
                _refuse(client)
                return
            with target:
                await carry(client, target)

    def close(self) -> None:
        """Accept no more connections, and end the current ones."""
        if self._accepting is not None:
            self._accepting.cancel()
        else:
            self._listener.close()
        for task in list(self._carried):
            task.cancel()


def _refuse(client: socket.socket) -> None:
    """Reset the connection, so that the client gets an error and not an empty answer."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def carry(one: socket.socket, other: socket.socket) -> None:
    """Copy in both directions until both sides have finished. If one side is done, the other learns it at once.

    If one direction fails, the other is ended and awaited before the caller closes the sockets. A socket that is closed
    while the event loop waits for it leaves its number in the loop's selector. The next connection with that number
    would then never wake.
    """
    one.setblocking(False)
    try:
        async with asyncio.TaskGroup() as ways:
            ways.create_task(_copy(one, other))
            ways.create_task(_copy(other, one))
    except* OSError:
        pass  # the connection has ended anyway


async def _copy(source: socket.socket, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(source, _CHUNK):
            await loop.sock_sendall(target, data)
    finally:
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def to(address: str, port: int) -> Connect:
    """Return a function that connects to an address of the lab's main network."""

    async def connect() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        return await _connected(made, address, port)

    return connect


def into(namespace: network.Namespace, port: int) -> Connect:
    """Return a function that connects to a port on a gateway's own loopback, which no other network reaches."""

    async def connect() -> socket.socket:
        return await _connected(namespace.socket(), "127.0.0.1", port)

    return connect


async def _connected(made: socket.socket, address: str, port: int) -> socket.socket:
    made.setblocking(False)
    try:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(made, (address, port))
    except BaseException:
        made.close()
        raise
    return made


def listen_on_loopback() -> socket.socket:
    """Return a listening socket on a free port of 127.0.0.1 in the caller's network."""
    listener = reserve_on_loopback()
    listener.listen(_WAITING_CONNECTIONS)
    return listener


def reserve_on_loopback() -> socket.socket:
    """Return a socket that holds a free port of 127.0.0.1 and refuses connections until it listens."""
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reserved.bind(("127.0.0.1", 0))
    return reserved


async def serve_proxy(listener: socket.socket) -> asyncio.Server:
    """Serve an HTTP proxy that leads only to the lab's addresses: CONNECT, or a whole URL."""
    listener.setblocking(False)
    return await asyncio.start_server(_serve_proxy_client, sock=listener, limit=_REQUEST_HEAD_LIMIT)


async def _serve_proxy_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            head = await reader.readuntil(b"\r\n\r\n")
            method, url, rest = _request_line(head)
            host, port, path = _target(method, url)
            answer, onward = await asyncio.open_connection(host, port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            onward.write(_request_for_one_answer(method, path, rest))
        await asyncio.gather(_pump(reader, onward), _pump(answer, writer))
    writer.close()


def _request_line(head: bytes) -> tuple[str, str, bytes]:
    method, url, rest = head.split(b" ", 2)
    return method.decode("latin-1"), url.decode("latin-1"), rest


def _request_for_one_answer(method: str, path: str, rest: bytes) -> bytes:
    """Return the request for the target.

    It closes after the answer, because the next request may have another target.
    """
    lines = rest.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith((b"connection:", b"proxy-connection:"))]
    return f"{method} {path} ".encode("latin-1") + b"\r\n".join([*kept, b"Connection: close", b"", b""])


def _target(method: str, url: str) -> tuple[str, int, str]:
    """Return (address, port, path) of a proxied request. Raises ValueError for a target outside the lab's network."""
    rest = url if method == "CONNECT" else url.removeprefix("http://")
    authority, slash, path = rest.partition("/")
    host, _, port = authority.partition(":")
    if ipaddress.ip_address(host) not in ipaddress.ip_network(
        f"{network.ADDRESS}/{network.PREFIX_LENGTH}", strict=False
    ):
        raise ValueError(f"{host} is not an address of the lab")
    return host, int(port or 80), slash + path or "/"


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(_CHUNK):
            target.write(data)
            await target.drain()
    finally:
        with contextlib.suppress(OSError, RuntimeError):
            target.write_eof()
