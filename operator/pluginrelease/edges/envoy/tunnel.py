"""One TCP connection to a pod through the API server's port-forward, with TLS and HTTP/1.1 on top.

``v4.channel.k8s.io``: each binary message begins with a channel's number: data, or the text of an error. The first two
bytes of each channel repeat the port. A new websocket is a new connection in the pod.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Protocol, TypeVar

import aiohttp
import h11

T = TypeVar("T")

DATA, ERROR = 0, 1
CHUNK = 64 * 1024
TEXT_LIMIT = 300


class Broken(Exception):
    """The connection was refused or ended too early. The text is for people."""


class TunnelStream(Protocol):
    """Bytes in both directions."""

    async def send(self, data: bytes) -> None:
        """Send all bytes."""
        ...

    async def receive(self) -> bytes:
        """Return the next bytes; b"" at the end."""
        ...


class Forwarded:
    """The bytes of one forwarded port."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ports = {DATA: 2, ERROR: 2}

    async def send(self, data: bytes) -> None:
        """Send all bytes on the data channel."""
        await self._socket.send_bytes(bytes([DATA]) + data)

    async def receive(self) -> bytes:
        """Return the next bytes; b"" at the end. Raises `Broken` with the node's error."""
        while True:
            message = await self._socket.receive()
            if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                return b""
            channel, payload = message.data[0], message.data[1:]
            left = self._ports.get(channel, 0)
            self._ports[channel] = max(0, left - len(payload))
            payload = payload[left:]
            if payload and channel == ERROR:
                raise Broken(payload.decode(errors="replace").strip()[:TEXT_LIMIT])
            if payload and channel == DATA:
                return bytes(payload)


class Secured:
    """TLS as a client. The certificate is not checked, because the pod's name selects the server, not DNS."""

    def __init__(self, stream: TunnelStream, server_name: str) -> None:
        """Raises ValueError for an invalid server name."""
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _make_context().wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    async def handshake(self) -> None:
        """Raises `ssl.SSLError`, and `Broken`."""
        await self._step(self._tls.do_handshake)

    def certificate(self) -> bytes | None:
        """Return the server's certificate as DER; there is one after the handshake."""
        return self._tls.getpeercert(binary_form=True)

    async def send(self, data: bytes) -> None:
        """Send all bytes."""
        await self._step(lambda: self._tls.write(data))

    async def receive(self) -> bytes:
        """Return the next bytes; b"" at the end.

        TLS need not be closed properly, because HTTP has its own lengths.
        """
        try:
            return await self._step(lambda: self._tls.read(CHUNK))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    async def _step(self, act: Callable[[], T]) -> T:
        """Run one TLS operation, with all bytes that it needs in both directions."""
        while True:
            try:
                done = act()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            else:
                await self._flush()
                return done

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await self._stream.send(data)

    async def _feed(self) -> None:
        if data := await self._stream.receive():
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


class Http:
    """HTTP/1.1 as a client, event by event."""

    def __init__(self, stream: TunnelStream) -> None:
        self._stream = stream
        self.connection = h11.Connection(h11.CLIENT)

    async def send(self, *events: h11.Event) -> None:
        """Send events in one piece. Raises `h11.LocalProtocolError`."""
        data = b"".join(self.connection.send(event) or b"" for event in events)
        if data:
            await self._stream.send(data)

    async def event(self) -> h11.Event:
        """Return the next event. Raises `h11.RemoteProtocolError`, and `Broken` if the connection is no longer HTTP."""
        event = self.connection.next_event()
        while event is h11.NEED_DATA:
            self.connection.receive_data(await self._stream.receive())
            event = self.connection.next_event()
        if not isinstance(event, h11.Event):
            raise Broken("the connection was switched to another protocol")
        return event


def _make_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
