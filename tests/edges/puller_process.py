"""The process that pulls, in which nothing else uses memory, and what a pull may cost there."""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.edges.puller import PullOrder, PullOutcome

CHECKOUT = Path(__file__).parents[2]
MIB = 1024 * 1024
MORE_BYTES = 64 * MIB
MOST_SECONDS = 60.0
USER, PASSWORD, TOKEN = "planted-user", "planted-password", "planted-token"


def secret(host: str, **entry: str) -> str:
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return json.dumps({"auths": {host: entry or {"auth": auth}}})


@dataclass
class PullerProcess:
    process: subprocess.Popen[str]
    log: Path

    def __call__(self, order: PullOrder) -> PullOutcome:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(asdict(order)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, self.log.read_text()
        return PullOutcome(**json.loads(answer))
