"""What the running lab reports to its starter: lines of progress, then whether it is ready or has failed."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pluginrelease_lab.errors import LabError

Report = Callable[[str], None]


@dataclass(frozen=True)
class Teller:
    """The lab's end of the pipe. A reader is not necessary."""

    descriptor: int

    def line(self, text: str) -> None:
        self._tell("line", text)

    def ready(self) -> None:
        self._tell("ready", "")

    def failed(self, text: str) -> None:
        self._tell("failed", text)

    def _tell(self, kind: str, text: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self.descriptor, json.dumps([kind, text]).encode() + b"\n")


class EventListener:
    """The starter's end. It continues after the lab is ready, because a part may exit later."""

    def __init__(self, descriptor: int, report: Report) -> None:
        self._descriptor = descriptor
        self._report = report
        self._settled = threading.Event()
        self._failure: str | None = "the lab ended before it was ready"
        self._thread = threading.Thread(target=self._listen, name="lab-events", daemon=True)
        self._thread.start()

    def wait_until_ready(self, within: float) -> None:
        """Wait until the lab is ready. Raises LabError if it fails, ends, or needs more than ``within`` seconds."""
        if not self._settled.wait(within):
            raise LabError(f"the lab was not ready within {within:.0f} s")
        if self._failure is not None:
            raise LabError(self._failure)

    def _listen(self) -> None:
        for kind, text in self._told():
            if kind == "line":
                self._report(text)
                continue
            if not self._settled.is_set():
                self._failure = text if kind == "failed" else None
            self._settled.set()
        self._settled.set()

    def _told(self) -> Iterator[tuple[str, str]]:
        with os.fdopen(self._descriptor, "r", encoding="utf-8") as pipe:
            for line in pipe:
                kind, text = json.loads(line)
                yield kind, text
