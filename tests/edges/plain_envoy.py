"""A real Envoy on loopback without a control plane: what a plugin does with requests, or that Envoy does not take it.

Listeners come one by one into the same Envoy, as compiling a module is what takes long, and Envoy does it once for all
that have the same code. (`real_envoy` is for what a gateway says of itself.)
"""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import requests

from pluginrelease_lab import binaries
from tests import wasm_modules

Found = TypeVar("Found")
API = "type.googleapis.com/envoy"
FILTERS = f"{API}.extensions.filters"
ROUTE = "apps/upstream"  # the only one, as Higress names a route: by its Ingress
ACTIVE_VMS = "wasm.envoy.wasm.runtime.v8.active"
PATIENCE = 240.0  # seconds; while Envoy compiles, its admin port answers nobody
VALIDATE_SECONDS = 120.0


@dataclass(frozen=True)
class PlainPlugin:
    """One plugin as a listener has it: its module and the text of its configuration."""

    module: Path
    configuration: str = ""


@dataclass(frozen=True)
class Backends:
    """What is behind the listeners: clusters by name, each one port on loopback, and the one that requests go to.

    Without one, the gateway itself answers 200 "reached" to what the plugin lets through.
    """

    clusters: Mapping[str, int] = field(default_factory=dict)
    upstream: str = ""


class NotTaken(Exception):
    """Envoy refused a listener for its plugin; the text is what its log said meanwhile."""


class PlainGateway:
    """One Envoy with one worker."""

    def __init__(self, folder: Path, backends: Backends | None = None, program: Path | None = None) -> None:
        self.folder, self.backends, self.program = folder, backends or Backends(), program
        self.listeners: dict[str, Any] = {}
        self.admin = ""
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.folder / "envoy.log").read_text()

    def start(self) -> None:
        """Returns when Envoy is live; it has no listener yet.

        An older one begins with a plugin, and loses it: V8 before Envoy 1.38 guards its code by a protection key of the
        processor, where there is one (pku in /proc/cpuinfo), which threads that began before V8 may not read. Such a
        gateway ends by SIGSEGV with the first plugin that it gets after its start, whatever that does.
        """
        address = self.folder / "admin"
        self._write("envoy.json", self._bootstrap())
        self._write("listeners.json", {"resources": [self._first_plugin()] if self.program else []})
        envoy = self.program or binaries.provide("envoy")
        program = [envoy, "-c", self.folder / "envoy.json", "--admin-address-path", address]
        options = ["--use-dynamic-base-id", "--concurrency", "1", "--component-log-level", "wasm:info"]
        options += ["--drain-time-s", "1"]  # how long a listener that is taken off keeps its plugin
        with (self.folder / "envoy.log").open("wb") as log:
            self.process = subprocess.Popen([str(word) for word in [*program, *options]], cwd=self.folder, stderr=log)
        self._wait(lambda: address.exists() and address.read_text().strip())
        self.admin = f"http://{address.read_text().strip()}"
        self._wait(lambda: requests.get(f"{self.admin}/ready", timeout=PATIENCE).status_code == 200)
        if self.program:
            self.take_off_all()
            self._wait(lambda: self.statistic(ACTIVE_VMS) == 0)

    def _first_plugin(self) -> dict[str, Any]:
        module = self.folder / "first.wasm"
        module.write_bytes(wasm_modules.answering("first"))
        kind = {"@type": f"{API}.config.listener.v3.Listener"}
        return kind | listener("first", PlainPlugin(module), self.backends)

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)

    def serve(self, name: str, module: Path, configuration: str = "") -> str:
        """A listener with this plugin, and its URL. Raises `NotTaken` when Envoy refuses the plugin."""
        self._take({name: PlainPlugin(module, configuration)})
        return self._wait(lambda: self._url(name))

    def serve_all(self, modules: Mapping[str, Path]) -> dict[str, str]:
        """A listener with each of these plugins, all at once, and their URLs. Raises `NotTaken` as `serve`."""
        self._take({name: PlainPlugin(module) for name, module in modules.items()})
        return {name: self._wait(functools.partial(self._url, name)) for name in modules}

    def take_off_all(self) -> None:
        """Returns before Envoy has done it."""
        self._write("listeners.json", {"resources": []})
        self.listeners = {}

    def statistic(self, name: str, patience: float = PATIENCE) -> int:
        """One of Envoy's own numbers; 0 for one that it has no longer."""
        text = requests.get(f"{self.admin}/stats", params={"filter": f"^{name}$"}, timeout=patience).text
        return int(text.partition(": ")[2] or 0)

    def _take(self, plugins: Mapping[str, PlainPlugin]) -> None:
        before, said = self._updates(), len(self.log)
        fresh = {name: listener(name, plugin, self.backends) for name, plugin in plugins.items()}
        kind = {"@type": f"{API}.config.listener.v3.Listener"}
        wanted = self.listeners | {name: kind | one for name, one in fresh.items()}
        self._write("listeners.json", {"resources": list(wanted.values())})
        self._wait(lambda: sum(self._updates()) > sum(before))
        if self._updates()[1] > before[1]:
            raise NotTaken(self.log[said:])
        self.listeners = wanted

    def _updates(self) -> tuple[int, int]:
        """How many updates of the listeners Envoy has taken, and how many it has refused."""
        prefix = "listener_manager.lds.update_"
        text = requests.get(f"{self.admin}/stats", params={"filter": f"^{prefix}"}, timeout=PATIENCE).text
        counts = dict(line.split(": ") for line in text.splitlines())
        return int(counts[prefix + "success"]), int(counts[prefix + "rejected"])

    def _url(self, name: str) -> str:
        lines = requests.get(f"{self.admin}/listeners", timeout=PATIENCE).text.splitlines()
        addresses = dict(line.split("::", 1) for line in lines)
        return f"http://{addresses[name].strip()}" if name in addresses else ""

    def _wait(self, look: Callable[[], Found]) -> Found:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with contextlib.suppress(requests.ConnectionError):  # Envoy ends: the next turn tells
                if found := look():
                    return found
            assert self.process is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
                raise RuntimeError("Envoy ended:\n" + self.log)
        raise RuntimeError(f"Envoy did not come to it within {PATIENCE:.0f} s:\n" + self.log)

    def _write(self, file: str, content: dict[str, Any]) -> None:
        """In one step, as Envoy reads a file when another one is moved onto it."""
        fresh = self.folder / f"{file}.new"
        fresh.write_text(json.dumps(content))
        fresh.replace(self.folder / file)

    def _bootstrap(self) -> dict[str, Any]:
        return {
            "node": {"id": "gateway", "cluster": "gateway"},
            "admin": {"address": _loopback(0)},
            "dynamic_resources": {"lds_config": {"path_config_source": {"path": str(self.folder / "listeners.json")}}},
            "static_resources": {"clusters": [_cluster(*backend) for backend in self.backends.clusters.items()]},
        }


def takes(folder: Path, plugin: PlainPlugin) -> tuple[bool, str]:
    """Whether Envoy loads the plugin and the plugin takes its configuration, and Envoy's log.

    Envoy does both when it validates a configuration, and then ends by itself.
    """
    config = folder / "envoy.json"
    config.write_text(json.dumps({"static_resources": {"listeners": [listener("http", plugin, Backends())]}}))
    program = [binaries.provide("envoy"), "--mode", "validate", "-c", config, "--use-dynamic-base-id"]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, timeout=VALIDATE_SECONDS, check=False)
    return done.returncode == 0, done.stderr


def listener(name: str, plugin: PlainPlugin, backends: Backends) -> dict[str, Any]:
    """Envoy's configuration of a listener on a free port."""
    answer = {"direct_response": {"status": 200, "body": {"inline_string": "reached"}}}
    way = {"route": {"cluster": backends.upstream}} if backends.upstream else answer
    route = {"name": ROUTE, "match": {"prefix": "/"}, **way}
    everything = {"name": "all", "domains": ["*"], "routes": [route]}
    router = {"@type": f"{FILTERS}.http.router.v3.Router"}
    manager = {
        "@type": f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [everything]},
        "http_filters": [_wasm(plugin), {"name": "router", "typed_config": router}],
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {
        "name": name,
        "address": _loopback(0),
        "filter_chains": [chain],
    }


def _wasm(plugin: PlainPlugin) -> dict[str, Any]:
    text = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": plugin.configuration}
    config = {
        "name": "plugin",
        "fail_open": False,
        "configuration": text,
        "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": str(plugin.module)}}},
    }
    return {"name": "plugin", "typed_config": {"@type": f"{FILTERS}.http.wasm.v3.Wasm", "config": config}}


def _cluster(name: str, port: int) -> dict[str, Any]:
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _loopback(port)}}]}
    assignment = {"cluster_name": name, "endpoints": [endpoint]}
    return {"name": name, "type": "STATIC", "connect_timeout": "5s", "load_assignment": assignment}


def _loopback(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@contextlib.contextmanager
def running(folder: Path, backends: Backends | None = None, program: Path | None = None) -> Iterator[PlainGateway]:
    """An Envoy that has started, ``program`` or else the lab's; ended on leaving, also where it did not start."""
    one = PlainGateway(folder, backends, program)
    try:
        one.start()
        yield one
    finally:
        one.stop()
