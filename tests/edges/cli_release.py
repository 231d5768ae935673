"""The release whose verbs are tried against a real API server: statuses are written by hand, as the operator would."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from click.testing import CliRunner

from pluginrelease import api
from pluginrelease.cli import main
from pluginrelease_lab.host import Lab
from tests.harness.releases import ARTIFACT, manifest

NAMESPACE = "cli-verbs"
DEADLINE = 30.0
TIME = "2026-01-01T00:00:00Z"

Node = dict[str, Any]


class CommandResult(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def heed_ctrl_c() -> None:
    """A shell starts what runs in the background with SIGINT ignored, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Shop:
    """A namespace of the lab with one release, ``auth``, and the command for it."""

    def __init__(self, lab: Lab, kubeconfig: Path) -> None:
        self.lab, self.kubeconfig = lab, kubeconfig
        self.place = ("--kubeconfig", str(kubeconfig), "-n", NAMESPACE)

    def run(self, *arguments: str, stdin: str = "") -> CommandResult:
        """The command, to its end."""
        ended = CliRunner().invoke(main, [*arguments, *self.place], input=stdin, catch_exceptions=False)
        return CommandResult(ended.exit_code, ended.stdout, ended.stderr)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """The command while it runs. Ctrl-C reaches it, also where the tests themselves run in the background."""
        argv = [sys.executable, "-m", "pluginrelease.cli", *arguments, *self.place]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "bufsize": 1}
        with subprocess.Popen(argv, **pipes, preexec_fn=heed_ctrl_c) as process:
            try:
                yield process
            finally:
                process.kill()

    def get(self) -> Node:
        found: Node = json.loads(self.lab.kubectl("get", "prel", "auth", "-n", NAMESPACE, "-o", "json"))
        return found

    @property
    def release(self) -> api.Release:
        return api.Release.model_validate(self.get())

    def tell(self, *conditions: Node, **status: Any) -> None:
        """Writes the whole status by server-side apply, as the end of a pass does."""
        told = {"observedGeneration": self.get()["metadata"]["generation"], **status, "conditions": list(conditions)}
        body = {**head(), "status": told}
        server_side = ("--server-side", "--subresource=status", "--field-manager=pluginrelease", "--force-conflicts")
        self.lab.kubectl("apply", *server_side, "-f", "-", stdin=json.dumps(body))

    def change(self, **plugin: Any) -> None:
        """A new generation of the spec."""
        patch = json.dumps({"spec": {"plugin": plugin}})
        self.lab.kubectl("patch", "prel", "auth", "-n", NAMESPACE, "--type=merge", "-p", patch)

    def change_image(self, ref: str) -> None:
        """Another image, as a commit brings it."""
        patch = json.dumps({"spec": {"artifact": {"image": {"ref": ref}}}})
        self.lab.kubectl("patch", "prel", "auth", "-n", NAMESPACE, "--type=merge", "-p", patch)

    def create(self, thing: Node) -> None:
        self.lab.kubectl("create", "-f", "-", stdin=json.dumps(thing))


def head() -> Node:
    return {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": {"name": "auth", "namespace": NAMESPACE}}


def written() -> Node:
    """The release as its users write it: gateways in its own namespace."""
    return {**head(), "spec": manifest(spec__gateways__0__namespace=NAMESPACE)["spec"]}


def condition(kind: str, status: str, reason: str, message: str = "") -> Node:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": TIME}


def entry(revision_id: str, number: int, state: str) -> Node:
    times = {"firstDeployed": TIME, "lastDeployed": TIME}
    named = {"ref": ARTIFACT.ref, "digest": ARTIFACT.digest}
    return {"revision": revision_id, "number": number, "state": state, **named, **times}


READY = condition("Ready", "True", "Loaded", "2 of 2 gateway pods run it")
LOADING = condition("Ready", "False", "AwaitingConfig", "one gateway has not received it")
MOVING = condition("Reconciling", "True", "AwaitingConfig")
FAILED = condition("Ready", "False", "PluginRejected", "no such function")
STALLED = condition("Stalled", "True", "PluginRejected")


def line(stream: IO[str] | None, words: str) -> str:
    """The next line with these words."""
    assert stream is not None
    for found in stream:
        if words in found:
            return found
    raise AssertionError(f"the stream ended without {words!r}")
