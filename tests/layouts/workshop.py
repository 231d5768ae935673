"""Where images are made as people make them: the tools, and the registry's own API for what no tool at hand writes."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner
from oras.client import OrasClient

from pluginrelease.cli import main
from pluginrelease.core.artifact import image_manifests
from pluginrelease.edges.toolchain import builder, golang
from pluginrelease_lab import binaries
from tests import wasm_modules
from tests.edges.real_registry import Real

SECONDS = 120.0
TAG = "1"
WASM_CONFIG = "application/vnd.module.wasm.config.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
TOOLS = {"buildah": "apt-get install buildah", "skopeo": "apt-get install skopeo"}
"""What the table needs beyond the lab, and the command that gets it."""

Node = dict[str, Any]
Layer = tuple[str, bytes]
"""A media type and the bytes."""


def require_tools() -> None:
    """Raises `click.ClickException` with the commands that get what is missing."""
    missing = [f"{name} is missing: {command}" for name, command in TOOLS.items() if shutil.which(name) is None]
    if missing:
        raise click.ClickException("; ".join(missing))


@dataclass(frozen=True)
class Workshop:
    """One row's place: a folder, a repository, and a module that shows itself by the response header ``x-plugin``."""

    real: Real
    folder: Path
    repository: str
    value: str

    @property
    def module(self) -> bytes:
        """A whole plugin; every row has bytes of its own, as gateways know them again."""
        return wasm_modules.answering(self.value)

    @property
    def target(self) -> str:
        """The image's reference, as this machine calls it."""
        return f"{self.real.host}/{self.repository}:{TAG}"

    # ------------------------------------------------------------------------------------------ by hand

    def image(self, *layers: Layer, kind: str = image_manifests.OCI_MANIFEST, tag: str = TAG, **extra: Any) -> Node:
        """A manifest with these layers, as it is; gives its descriptor. ``extra`` are fields of it; None: without."""
        described = [self.real.blob(self.repository, blob) | {"mediaType": of} for of, blob in layers]
        config_type = image_manifests.OCI_CONFIG if kind == image_manifests.OCI_MANIFEST else DOCKER_CONFIG
        config = self.real.blob(self.repository, b"{}") | {"mediaType": config_type}
        content = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": described} | extra
        return self.put(tag, kind, {key: value for key, value in content.items() if value is not None})

    def index(self, *children: Node, kind: str = image_manifests.OCI_INDEX, tag: str = TAG) -> Node:
        """An index of these descriptors; gives its own."""
        return self.put(tag, kind, {"schemaVersion": 2, "mediaType": kind, "manifests": list(children)})

    def put(self, tag: str, kind: str, content: Node) -> Node:
        """A manifest as it is; gives its descriptor."""
        raw = json.dumps(content).encode()
        return {"mediaType": kind, "digest": self.real.write(self.repository, tag, kind, raw), "size": len(raw)}

    def readable(self, tag: str) -> Node:
        """An image that every gateway reads, to be part of something."""
        return self.image((image_manifests.OCI_LAYER, packed(("plugin.wasm", self.module))), tag=tag)

    # ------------------------------------------------------------------------------------------ by tools

    def ours(self, *words: str) -> None:
        """``pluginrelease …``"""
        ended = CliRunner().invoke(main, [*words, "--insecure"])
        assert ended.exit_code == 0, ended.output

    def file(self, name: str, content: bytes) -> str:
        """A file in the folder; gives its name in it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return name

    def run(self, *argv: str) -> str:
        """A tool, in the folder; gives what it printed."""
        nobody = self.folder / "auth.json"  # no credentials of whoever runs this
        nobody.write_text("{}")
        keys = {"REGISTRY_AUTH_FILE": str(nobody), "HELM_REGISTRY_CONFIG": str(nobody), "HELM_CACHE_HOME": "cache"}
        done = subprocess.run(
            argv, cwd=self.folder, capture_output=True, text=True, timeout=SECONDS, check=False, env=os.environ | keys
        )
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
        return done.stdout

    def go_build(self, source: Path, output: Path) -> None:
        """``go build``, as somebody runs it who forgot -buildmode."""
        compiler = golang.locate(builder.MINIMUM_GO)
        settings = golang.environment(golang.cache_folder(os.environ), os.environ, **builder.TARGET)
        argv = [str(compiler.path), "build", "-o", str(output), "."]
        done = subprocess.run(argv, cwd=source, env=settings, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr

    def buildah(self, *words: str) -> str:
        """buildah, with a store of its own."""
        store = ("--root", "store", "--runroot", "run", "--storage-driver", "vfs")
        return self.run("buildah", *store, *words)

    def build(self, *lines: str, options: Sequence[str] = (), push: Sequence[str] = ()) -> None:
        """A Dockerfile that begins with FROM scratch, built and pushed."""
        self.file("plugin.wasm", self.module)
        self.file("Dockerfile", "\n".join(["FROM scratch", *lines, ""]).encode())
        self.buildah("bud", "--layers", *options, "-t", "made", ".")
        self.buildah("push", "--tls-verify=false", *push, "made", f"docker://{self.target}")

    def skopeo(self, *words: str) -> None:
        """skopeo copy, from one tag of the row's repository to the row's."""
        plain_http = ("--src-tls-verify=false", "--dest-tls-verify=false")
        source = f"docker://{self.real.host}/{self.repository}:source"
        self.run("skopeo", "--insecure-policy", "copy", *plain_http, *words, source, f"docker://{self.target}")

    def oras(self, *files: str, config: str | None = None) -> None:
        """oras-py, with files of the folder as ``name`` or ``name:media type``."""
        before = Path.cwd()
        os.chdir(self.folder)  # oras wants files below the working directory, and calls layers by their paths
        try:
            OrasClient(insecure=True).push(self.target, files=list(files), manifest_config=config, quiet=True)
        finally:
            os.chdir(before)

    def helm(self) -> None:
        """A chart with the module in it, as ``helm push`` puts it into a registry."""
        name = self.repository.rpartition("/")[2]
        self.file("chart/Chart.yaml", f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n".encode())
        self.file("chart/plugin.wasm", self.module)
        program = binaries.provide("helm")
        self.run(str(program), "package", "chart")
        place = f"oci://{self.real.host}/{self.repository.rpartition('/')[0]}"
        self.run(str(program), "push", f"{name}-1.0.0.tgz", place, "--plain-http")
        self.retag("1.0.0")

    def retag(self, tag: str) -> None:
        """Another tag of the row's repository becomes the row's image, byte for byte."""
        kind, content = self.real.read(self.repository, tag)
        self.real.write(self.repository, TAG, kind, content)


def packed(*files: tuple[str, bytes | None], kind: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar+gzip layer with these files in this order; None: a directory."""
    return gzip.compress(archived(*files, kind=kind), mtime=0)


def archived(*files: tuple[str, bytes | None], kind: int = tarfile.USTAR_FORMAT) -> bytes:
    """The archive alone."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            entry.size = len(content or b"")
            tar.addfile(entry, io.BytesIO(content or b""))
    return out.getvalue()


def linked(kind: bytes, *files: tuple[str, bytes]) -> bytes:
    """A tar+gzip layer in which plugin.wasm is a link to the last of these files, after them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("plugin.wasm")
        link.type, link.linkname = kind, files[-1][0]
        tar.addfile(link)
    return gzip.compress(out.getvalue(), mtime=0)


def platform(entry: Node, architecture: str, system: str = "linux", **more: str) -> Node:
    """An index's entry for a platform."""
    return entry | {"platform": {"os": system, "architecture": architecture} | more}
