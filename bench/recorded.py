"""An Envoy admin port that answers as a real one was recorded: ``python recorded.py ADDRESS PORT FOLDER``.

Many simulated gateway pods are forwarded to it. FOLDER is one of tests/fixtures/envoy. Prints ``listening``.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

JSON = dict[str, Any]


class Recording:
    """One folder of recorded answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: dict[str, bytes] = {}

    def answer(self, target: str) -> bytes:
        """Return the body of a request to the admin port; keep it after the first request."""
        if target not in self.answers:
            self.answers[target] = self.read(target)
        return self.answers[target]

    def read(self, target: str) -> bytes:
        """Return the body. Raises KeyError if it was not recorded."""
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match url.path:
            case "/server_info":
                return self.file("server_info")
            case "/stats":
                return self.file("stats")
            case "/config_dump" if "resource" in query:
                return masked(self.file(SECTIONS[query["resource"]]), query["resource"], query.get("mask", ""))
            case "/config_dump":
                return self.file(SECTIONS[query["mask"]])
        raise KeyError(target)

    def file(self, name: str) -> bytes:
        """Return one recorded answer."""
        return (self.folder / f"{name}.json").read_bytes()


SECTIONS = {"last_updated": "start", "ecds_filters": "ecds", "dynamic_listeners": "listeners"}


def masked(dump: bytes, section: str, mask: str) -> bytes:
    """Return the dump of one section with only the fields of a mask, as Envoy does; all of it without a mask."""
    found = [config_entry for config in json.loads(dump)["configs"] for config_entry in config.get(section, [config])]
    kept = [
        cut(config_entry, [path.split(".") for path in mask.split(",")]) if mask else config_entry
        for config_entry in found
    ]
    return json.dumps({"configs": kept}).encode()


def cut(value: JSON, paths: list[list[str]]) -> JSON:
    """Return only these paths of a value, and its type."""
    kept = {key: one for key, one in value.items() if key == "@type" or [key] in paths}
    for key in {path[0] for path in paths if len(path) > 1} & value.keys():
        kept[key] = cut(value[key], [path[1:] for path in paths if path[0] == key and len(path) > 1])
    return kept


async def serve(recording: Recording, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection for any number of requests."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            _, target, _ = head.decode("latin-1").split(" ", 2)
            try:
                writer.write(framed("200 OK", recording.answer(target)))
            except KeyError:
                writer.write(framed("404 Not Found", b"not recorded\n"))
            await writer.drain()
    writer.close()


def framed(status: str, body: bytes) -> bytes:
    """Return a whole HTTP answer."""
    date = email.utils.formatdate(usegmt=True)
    head = f"HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def main(address: str, port: str, folder: str) -> None:
    """Run until the process is ended."""
    recording = Recording(Path(folder))
    server = await asyncio.start_server(lambda reader, writer: serve(recording, reader, writer), address, int(port))
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
