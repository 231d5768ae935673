"""A real registry (CNCF distribution) on loopback, its credentials, and the raw way into it that foreign tools take."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.image_manifests import Artifact, Digest, Reference
from pluginrelease.core.signing import signature
from pluginrelease.edges.oci.access import Access
from pluginrelease_lab import binaries, registries

USER, PASSWORD = "tester", "correct horse"
PASSWORD_HASH = "$2b$04$PluginReleaseTestsSale4l6sx1zfn6J9haxgMql5Z6QrZ9TNgKO"  # bcrypt, the one form it reads
REALM = "https://registry.example.com/"


def secret(host: str, password: str = PASSWORD, **entry: str) -> bytes:
    """A pull secret's content for the tester, or with another ``entry``."""
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    return json.dumps({"auths": {host: entry or {"auth": auth}}}).encode()


def as_tester(host: str, password: str = PASSWORD) -> Access:
    """The tester's way in."""
    return Access(insecure=True, deadline_seconds=20, dockerconfigjson=secret(host, password))


@dataclass(frozen=True)
class Real:
    """One that runs, at ``host:port``."""

    host: str

    def reference(self, name: str) -> Reference:
        return image_manifests.parse(f"{self.host}/{name}")

    def blob(self, repository: str, content: bytes) -> dict[str, Any]:
        """Upload a blob as it is, as a foreign tool would; gives its descriptor without a type."""
        start = requests.post(f"http://{self.host}/v2/{repository}/blobs/uploads/", timeout=10)
        place = f"http://{self.host}/v2/" + start.headers["Location"].partition("/v2/")[2]
        digest = str(Digest.of(content))
        put = requests.put(place, params={"digest": digest}, data=content, timeout=60)
        assert put.status_code == 201, put.text
        return {"digest": digest, "size": len(content)}

    def manifest(self, repository: str, question: str, media_type: str, content: dict[str, Any]) -> str:
        """Put a manifest as it is, under a tag or its digest; gives the digest."""
        return self.put(repository, question, media_type, {"schemaVersion": 2, "mediaType": media_type, **content})

    def put(self, repository: str, question: str, media_type: str, content: dict[str, Any]) -> str:
        """As `manifest`, with nothing added."""
        return self.write(repository, question, media_type, json.dumps(content).encode())

    def write(self, repository: str, question: str, media_type: str, raw: bytes) -> str:
        """A manifest's own bytes."""
        url = f"http://{self.host}/v2/{repository}/manifests/{question}"
        put = requests.put(url, data=raw, headers={"Content-Type": media_type}, timeout=10)
        assert put.status_code == 201, put.text
        return put.headers["Docker-Content-Digest"]

    def read(self, repository: str, question: str) -> tuple[str, bytes]:
        """A manifest's media type and its own bytes."""
        url = f"http://{self.host}/v2/{repository}/manifests/{question}"
        answer = requests.get(url, headers={"Accept": ", ".join(image_manifests.MANIFEST_TYPES)}, timeout=10)
        answer.raise_for_status()
        return answer.headers["Content-Type"], answer.content


def refer(real: Real, image: Artifact, *bundles: bytes) -> None:
    """Puts bundles that refer to an image into its repository, the last as the newest."""
    repository, kind = image.reference.repository, signature.BUNDLE
    config = {"mediaType": "application/vnd.oci.empty.v1+json", **real.blob(repository, b"{}")}
    listed = []
    for bundle in bundles:
        content = {
            "schemaVersion": 2,
            "mediaType": image_manifests.OCI_MANIFEST,
            "artifactType": kind,
            "config": config,
            "layers": [{"mediaType": kind, **real.blob(repository, bundle)}],
        }
        raw = json.dumps(content).encode()
        digest = real.put(repository, str(Digest.of(raw)), image_manifests.OCI_MANIFEST, content)
        listed.append(
            {"mediaType": image_manifests.OCI_MANIFEST, "digest": digest, "size": len(raw), "artifactType": kind}
        )
    real.manifest(repository, signature.referrers_tag(image.digest), image_manifests.OCI_INDEX, {"manifests": listed})


@contextlib.contextmanager
def running(folder: Path, tls: Path | None = None, address: str = "127.0.0.1", **extra: Any) -> Iterator[Real]:
    """A registry whose state is in ``folder``; ``extra`` are sections of its configuration, ``tls`` a file with its
    certificate and its key, ``address`` the only one that it listens on."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as free:
        free.bind((address, 0))
        port = free.getsockname()[1]
    host = f"[{address}]:{port}" if family == socket.AF_INET6 else f"{address}:{port}"
    config = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": host, **({"tls": {"certificate": str(tls), "key": str(tls)}} if tls else {})},
        **extra,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    program = [str(binaries.provide("registry")), "serve", str(folder / "config.yaml")]
    environ = os.environ | {"OTEL_TRACES_EXPORTER": "none"}
    with (folder / "log").open("wb") as log, subprocess.Popen(program, stdout=log, stderr=log, env=environ) as process:
        try:
            _await_port(address, port, process)
            yield Real(host)
        finally:
            process.terminate()


@contextlib.contextmanager
def guarded(folder: Path, realm: str = REALM, address: str = "127.0.0.1") -> Iterator[Real]:
    """A registry with the tester's password and the key, which says so with this realm."""
    (folder / "htpasswd").write_text(f"{USER}:{PASSWORD_HASH}\n{registries.KEY_USER}:{registries.KEY_HASH}\n")
    password = {"htpasswd": {"realm": realm, "path": str(folder / "htpasswd")}}
    with running(folder, address=address, auth=password) as real:
        yield real


def _await_port(address: str, port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
            return
        time.sleep(0.02)
    pytest.fail("the registry did not start")
