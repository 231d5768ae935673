"""How long both runs of an incident are counted."""

from __future__ import annotations

import threading


class Pace:
    """The bare run is counted for as long as the release's took: what is lost is compared over the same time."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._seconds = 0.0

    def told(self, seconds: float) -> None:
        """The release's run has ended."""
        self._seconds = seconds
        self._done.set()

    def wait(self, seconds: float) -> float:
        """How long the release's run took; waits for its end, at most so long."""
        self._done.wait(seconds)
        return self._seconds
