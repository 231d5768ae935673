"""Registries that a test may break: real ones in the lab's network, and the secrets that open them."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pluginrelease.core.artifact import image_manifests
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease_lab import Lab, binaries, network

PORT = 5002
SECONDS = 60.0
ESTABLISHED = "01"  # a state of proc(5)
ANY_USER = "$2a$05$S91tG/pyL09/yzzt/kancOHwdng41vl7sFK3TpgRbYommpPF1s52S"  # bcrypt of the lab's own password


@dataclass
class Registry:
    """A real registry in the lab's network; what was pushed stays when it is stopped and started.

    ``realm``: it asks for the lab's user and password; ``tls``: a file with its certificate and its key.
    """

    lab: Lab
    folder: Path
    realm: str | None = None
    port: int = PORT
    tls: Path | None = None
    process: subprocess.Popen[Any] | None = field(default=None, init=False)

    @property
    def host(self) -> str:
        """As gateways and the operator know it."""
        return f"{network.ADDRESS}:{self.port}"

    def start(self) -> None:
        """Returns when it answers."""
        config, passwords = self.folder / "config.yaml", self.folder / "htpasswd"
        user, _ = self.lab.private_credentials
        passwords.write_text(f"{user}:{ANY_USER}\n")
        auth = {"auth": {"htpasswd": {"realm": self.realm, "path": str(passwords)}}} if self.realm else {}
        storage = {"filesystem": {"rootdirectory": str(self.folder / "data")}}
        tls = {"tls": {"certificate": str(self.tls), "key": str(self.tls)}} if self.tls else {}
        settings = {"version": 0.1, "storage": storage, "http": {"addr": self.host, "secret": "s", **tls}, **auth}
        config.write_text(yaml.safe_dump(settings))
        with (self.folder / "log").open("ab") as log:
            argv: list[str | Path] = [binaries.provide("registry"), "serve", config]
            self.process = self.lab.popen(argv, stdout=log, stderr=log)
        deadline = time.monotonic() + SECONDS
        while not self.answers():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]

    def answers(self) -> bool:
        """Whether it answers HTTP; with TLS it says 400 to that."""
        wanted = (400,) if self.tls else (200, 401)
        try:
            return self.lab.request(network.ADDRESS, self.port, "/v2/", timeout=2.0).status in wanted
        except OSError:
            return False

    def stop(self) -> None:
        """Connections are refused from now on."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Connections are taken, and nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def await_unread_request(self) -> None:
        """Return once somebody's request waits for a registry that hangs: its socket has bytes that nobody reads."""
        assert self.process is not None
        port, deadline = f":{self.port:04X}", time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            sockets = [line.split() for line in Path(f"/proc/{self.process.pid}/net/tcp").read_text().splitlines()[1:]]
            # by proc(5): slot, local address, remote address, state, transmit:receive queue
            waiting = [row for row in sockets if row[1].endswith(port) and row[3] == ESTABLISHED]
            if any(int(row[4].partition(":")[2], 16) for row in waiting):
                return
            time.sleep(0.02)
        raise AssertionError(f"nobody asked {self.host}")

    def forget(self, repository: str) -> None:
        """A repository is deleted, as by a clean-up that did not know that it was still needed."""
        shutil.rmtree(self.folder / "data" / "docker" / "registry" / "v2" / "repositories" / repository)

    def asked(self, client: str, method: str, part: str) -> list[str]:
        """The lines of its log about one client's requests of what has this in its path."""
        lines = (self.folder / "log").read_text().splitlines()
        return [line for line in lines if f'"{method} ' in line and part in line and f'"{client}/' in line]

    def push(self, module: bytes, name: str) -> str:
        """By ``pluginrelease push`` in the lab's network; returns the reference."""
        path, reference = self.folder / f"{name}.wasm", f"{self.host}/spare/{name}:1.0"
        path.write_bytes(module)
        argv = [sys.executable, "-m", "pluginrelease.cli", "push", str(path), reference, "--insecure"]
        pushing = self.lab.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = pushing.communicate(timeout=SECONDS)
        assert pushing.returncode == 0, output.decode()
        return reference


def push(lab: Lab, module: Path, name: str) -> str:
    """Pushes to the lab's open registry as ``name`` (repository:tag); returns the reference as gateways know it."""
    registry.push(image_manifests.parse(f"{lab.registry_host}/{name}"), module, Access(insecure=True))
    return f"{lab.registry}/{name}"


def push_private(lab: Lab, module: Path, name: str) -> str:
    """The same to the lab's registry that asks for a password."""
    host = lab.private_registry_host
    keys = pull_secret("", "", host, lab.private_credentials)["stringData"][".dockerconfigjson"]
    access = Access(insecure=True, dockerconfigjson=keys.encode())
    registry.push(image_manifests.parse(f"{host}/{name}"), module, access)
    return f"{lab.private_registry}/{name}"


def pull_secret(name: str, namespace: str, registry: str, credentials: tuple[str, str]) -> dict[str, Any]:
    """As ``kubectl create secret docker-registry`` makes it."""
    token = base64.b64encode(":".join(credentials).encode()).decode()
    content = json.dumps({"auths": {registry: {"auth": token}}})
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": {".dockerconfigjson": content},
    }


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
