"""Reports about each part: a line for the waiting user, and the file that ``lab status`` reads."""

from __future__ import annotations

import json
import time

from pluginrelease_lab.blueprint import Blueprint
from pluginrelease_lab.events import Teller
from pluginrelease_lab.files import write_private


class Journal:
    """The journal of a whole lab."""

    def __init__(self, lab: Blueprint, teller: Teller) -> None:
        self._lab = lab
        self._teller = teller
        self._began = time.monotonic()
        self._parts: dict[str, dict[str, str]] = {}
        self._phase = "starting"

    def note(self, part: str, state: str, text: str) -> None:
        """Note a part's state: starting, ready, ended (unexpected) or gone (expected)."""
        self._parts[part] = {"state": state, "text": text}
        if state == "gone":
            del self._parts[part]
        self._teller.line(f"{time.monotonic() - self._began:5.1f}s  {part:<24} {text}")
        self._write()

    def enter(self, phase: str) -> None:
        """Note the lab's phase: ready or failed."""
        self._phase = phase
        self._write()

    def _write(self) -> None:
        content = {"phase": self._phase, "parts": self._parts}
        write_private(self._lab.state / "status.json", json.dumps(content, indent=1))
