"""A plugin from an HTTP server: real gateways fetch it, and what is wrong with it is refused before they see it."""

from __future__ import annotations

import gzip
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pluginrelease_lab import Lab, network
from tests import wasm_modules
from tests.harness.cluster import GATEWAY_NAMESPACE, JSON, LabCluster, observed, python, ready, unique

PORT = 5011
SECONDS = 20.0


@dataclass
class FileServer:
    """A folder that an HTTP server in the lab's network serves."""

    lab: Lab
    folder: Path
    log: Path

    def url(self, name: str) -> str:
        return f"http://{network.ADDRESS}:{PORT}/{name}"

    def publish(self, name: str, module: bytes, packed: bytes | None = None) -> JSON:
        """Put a file there; return the field ``http`` of a release of the module in it."""
        (self.folder / name).write_bytes(module if packed is None else packed)
        return {"url": self.url(name), "sha256": hashlib.sha256(module).hexdigest()}

    def asked(self, name: str) -> list[str]:
        """The lines of its log about a file, of agents and the operator."""
        return [line for line in self.log.read_text().splitlines() if f"/{name} " in line]


@pytest.fixture
def files(lab: Lab, tmp_path: Path) -> Iterator[FileServer]:
    folder, log = tmp_path / "files", tmp_path / "files.log"
    folder.mkdir()
    argv = python("-u", "-m", "http.server", str(PORT), "--bind", network.ADDRESS, "--directory", str(folder))
    with log.open("ab") as output:
        process = lab.popen(argv, stdout=output, stderr=output)
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            lab.request(network.ADDRESS, PORT, "/", timeout=2.0)
            break
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
    yield FileServer(lab, folder, log)
    process.kill()
    process.wait()


def of_file(cluster: LabCluster, name: str, http: JSON) -> JSON:
    return cluster.manifest(name, "unused", artifact={"http": http})


def test_a_file_is_released_refused_and_put_back(cluster: LabCluster, files: FileServer) -> None:
    """The gateways load the module of a gzip archive by its URL and hash. A module that traps is put back, and a file
    with other bytes than its hash says never reaches them."""
    name = unique("file")
    good, bad = wasm_modules.answering(name), wasm_modules.traps_at_start()
    first = files.publish("good.wasm.gz", good, gzip.compress(good))
    cluster.apply(of_file(cluster, name, first))
    stable = cluster.await_ready(name)["status"]
    carrier = cluster.get("wasmplugin", GATEWAY_NAMESPACE, name)
    assert carrier is not None
    assert (carrier["spec"]["url"], carrier["spec"]["sha256"]) == (first["url"], first["sha256"])
    assert (stable["artifact"]["layout"], stable["artifact"]["wasmSha256"]) == ("Download", first["sha256"])
    cluster.await_answers(lambda status, headers, _: headers.get("x-plugin") == name)
    agents = [line for line in files.asked("good.wasm.gz") if '"GET ' in line]
    assert len(agents) >= len(cluster.gateways()), "each gateway's agent fetches the file itself"

    cluster.apply(of_file(cluster, name, files.publish("bad.wasm", bad)))
    rolled_back = cluster.await_release(name, lambda it: observed(it) and it["status"].get("phase") == "RolledBack")
    assert ready(rolled_back)["reason"] == "PluginRejected"
    assert rolled_back["status"]["stableRevision"] == stable["stableRevision"]
    after = cluster.get("wasmplugin", GATEWAY_NAMESPACE, name)
    assert after is not None
    assert after["spec"] == carrier["spec"]

    replaced = {**files.publish("replaced.wasm", bad), "sha256": first["sha256"]}
    cluster.apply(of_file(cluster, name, replaced))
    cluster.await_reason(name, "WasmMismatch")
    cluster.apply(of_file(cluster, name, {**first, "url": files.url("missing.wasm")}))
    cluster.await_reason(name, "ManifestNotFound")
    cluster.await_answers(lambda status, headers, _: headers.get("x-plugin") == name)
