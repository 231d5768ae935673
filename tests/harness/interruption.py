"""The operator behind the interrupter: who is to be killed, at which request, and whether it was."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pluginrelease_lab import Lab, blueprint, network, operator
from tests.harness import interrupter, registries
from tests.harness.cluster import python
from tests.harness.interrupter import InterruptOrder

SECONDS = 60.0


@dataclass
class InterruptingRelay:
    """A running interrupter; an operator with its ``kubeconfig`` goes through it."""

    process: subprocess.Popen[Any]
    kubeconfig: Path
    said: list[str] = field(default_factory=list)
    """What it has said since the last order."""
    _rest: bytes = b""

    def take(self, order: InterruptOrder) -> None:
        """Returns when the order counts."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        self.process.stdin.flush()
        self.await_line("taken")
        self.said.clear()

    def await_line(self, beginning: str, seconds: float = SECONDS) -> str:
        """The next line of this kind, which must come in time."""
        while not any(line.startswith(beginning) for line in self.said):
            assert self.hear(seconds), f"no {beginning!r} from the relay in {seconds:.0f} s, only {self.said}"
        return next(line for line in self.said if line.startswith(beginning))

    def hear(self, seconds: float) -> bool:
        """Adds what it says within this time to ``said``; False when it says nothing."""
        output = self.process.stdout
        assert output is not None
        can_read, _, _ = select.select([output], [], [], seconds)
        came = os.read(output.fileno(), 65536) if can_read else b""
        *lines, self._rest = (self._rest + came).split(b"\n")
        self.said += [line.decode() for line in lines]
        return bool(came)


@contextmanager
def relay(lab: Lab, folder: Path) -> Iterator[InterruptingRelay]:
    """The interrupter in the lab's network, with no order yet."""
    port = registries.free_port()
    upstream = (network.ADDRESS, str(blueprint.API_PORT))
    argv = python(str(interrupter.__file__), str(port), *upstream)
    with lab.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            one = InterruptingRelay(process, through(lab, port, folder))
            one.await_line("listening")
            yield one
        finally:
            process.kill()


def through(lab: Lab, port: int, folder: Path) -> Path:
    """A kubeconfig of the operator's ServiceAccount that leads through the relay."""
    direct = lab.kubeconfig_for(operator.NAMESPACE, operator.service_account())
    content = yaml.safe_load(direct.read_text())
    content["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{port}"}
    path = folder / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(content))
    return path
