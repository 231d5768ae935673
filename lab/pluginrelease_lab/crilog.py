"""Container logs in the kubelet's form: time, stream, full or partial, text."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

LONGEST_LINE = 16 * 1024


class CriLog:
    """Write a container's output line by line while it arrives. Each stream needs its own object."""

    def __init__(self, path: Path, stream: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._stream = stream.encode()
        self._rest = b""

    def feed(self, printed: bytes) -> None:
        """Accept any piece of output. A line is written when it is complete, or too long to wait for its end."""
        *lines, self._rest = (self._rest + printed).split(b"\n")
        entries = [entry for line in lines for entry in self._entries(line)]
        while len(self._rest) > LONGEST_LINE:
            entries.append(self._entry(b"P", self._rest[:LONGEST_LINE]))
            self._rest = self._rest[LONGEST_LINE:]
        if entries:
            self._file.write(b"".join(entries))

    def close(self) -> None:
        """Write the rest without an end of line."""
        if self._rest:
            self._file.write(b"".join(self._entries(self._rest)))
        self._file.close()

    def _entries(self, line: bytes) -> list[bytes]:
        pieces = [line[at : at + LONGEST_LINE] for at in range(0, len(line), LONGEST_LINE)] or [b""]
        partial = [self._entry(b"P", piece) for piece in pieces[:-1]]
        return [*partial, self._entry(b"F", pieces[-1])]

    def _entry(self, tag: bytes, text: bytes) -> bytes:
        time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()
        return b" ".join((time, self._stream, tag, text)) + b"\n"
