"""Download programs from their publishers over https, and compare each with its published checksum.

A machine without internet access must not wait for each of them. The first host that cannot be reached within `REACH`
seconds disables downloads for the rest of the process, and Go builds replace them.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import requests

from pluginrelease_lab.recipes import Download

REACH = 6.0  # seconds within which a publisher's checksum file must be read
STALL = 15.0  # seconds without a byte after which a download is aborted
DEADLINE = 900.0  # seconds for one whole file
CHECKSUMS_LIMIT = 256 * 1024
ARTIFACT_LIMIT = 512 * 1024 * 1024
CHUNK = 1024 * 1024
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

Report = Callable[[str], None]


class Unusable(Exception):
    """A download is not available or cannot be trusted; the message says why. The caller builds the program instead."""


class Downloads:
    """Downloads, and whether they were found impossible.

    ``PLUGINRELEASE_DOWNLOAD=never`` disables them: then everything is built from the pinned sources.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self.closed = environ.get("PLUGINRELEASE_DOWNLOAD") == "never"

    def fetch(self, download: Download, version: str, into: Path, report: Report) -> Path | None:
        """Unpack the program into the folder ``into``, not yet executable; return its path, or None after a report."""
        place = _filled(download, version)
        if self.closed or place is None:
            return None
        name = place.url.rsplit("/", 1)[-1]
        try:
            wanted = self._checksum(place, name)
            artifact = _artifact(place.url, into / f"{name}.part", report)
            _hold_against(artifact, wanted, place.url)
            return _unpacked(artifact, place.member)
        except (Unusable, requests.RequestException, OSError, tarfile.TarError) as why:
            report(f"{name} is not taken from its publisher: {why}")
            return None

    def _checksum(self, place: Download, name: str) -> str:
        try:
            text = _within(REACH, lambda: _text(place.checksums))
        except (TimeoutError, requests.ConnectionError, requests.Timeout) as why:
            self.closed = True
            raise Unusable(f"{_host(place.checksums)} cannot be reached, and no other is tried") from why
        for line in text.splitlines():
            match = re.match(r"([0-9a-f]{64})(?:\s+\*?(\S+))?\s*$", line)
            if match and (match[2] is None or match[2].rsplit("/", 1)[-1] == name):
                return match[1]
        raise Unusable(f"{place.checksums} has no SHA-256 of it")


def _filled(download: Download, version: str) -> Download | None:
    arch = ARCHITECTURES.get(platform.machine())
    if arch is None or sys.platform != "linux":
        return None
    words = {"version": version, "arch": arch}
    return Download(download.url.format(**words), download.checksums.format(**words), download.member.format(**words))


def _host(url: str) -> str:
    return url.split("/")[2]


def _within(seconds: float, call: Callable[[], str]) -> str:
    """Return the answer of ``call``, or raise `TimeoutError`.

    It runs in a thread, because a name look-up has no time limit.
    """
    answer: list[str] = []
    failure: list[BaseException] = []

    def attempt() -> None:
        try:
            answer.append(call())
        except BaseException as error:  # the waiting thread raises it
            failure.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not answer:
        raise TimeoutError
    return answer[0]


def _text(url: str) -> str:
    return b"".join(_chunks(url, CHECKSUMS_LIMIT, time.monotonic() + REACH)).decode("ascii", errors="replace")


def _artifact(url: str, path: Path, report: Report) -> Path:
    began = told = time.monotonic()
    size = 0
    with path.open("wb") as file:
        for chunk in _chunks(url, ARTIFACT_LIMIT, began + DEADLINE):
            file.write(chunk)
            size += len(chunk)
            if time.monotonic() - told > 10:
                told = time.monotonic()
                report(f"downloading {url} … {size >> 20} MiB, {told - began:.0f} s")
    return path


def _chunks(url: str, limit: int, deadline: float) -> Iterator[bytes]:
    """Yield the body of ``url``:

    at most ``limit`` bytes, until ``deadline``, and never redirected from https to http.
    """
    with requests.get(url, stream=True, timeout=(REACH, STALL)) as response:
        hops = [*(hop.url for hop in response.history), response.url]
        if url.startswith("https:") and not all(hop.startswith("https:") for hop in hops):
            raise Unusable(f"{url} leads away from https")
        if response.status_code != 200:
            raise Unusable(f"{url} answers {response.status_code}")
        size = 0
        for chunk in response.iter_content(CHUNK):
            size += len(chunk)
            if size > limit:
                raise Unusable(f"{url} is larger than {limit} bytes")
            if time.monotonic() > deadline:
                raise Unusable(f"{url} takes too long")
            yield chunk


def _hold_against(artifact: Path, wanted: str, url: str) -> None:
    with artifact.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        artifact.unlink()
        raise Unusable(f"{url} has SHA-256 {found}, its publisher says {wanted}")


def _unpacked(artifact: Path, member: str) -> Path:
    """Return the program: one regular file of the archive, by its full name. No other file is written."""
    if not member:
        return artifact
    program = artifact.with_suffix(".program")
    with tarfile.open(artifact, "r:*") as archive:
        for entry in archive:
            if entry.name.removeprefix("./") == member and entry.isfile() and entry.size <= ARTIFACT_LIMIT:
                source = archive.extractfile(entry)
                assert source is not None  # noqa: S101 - a regular file has a body
                with program.open("wb") as file:
                    while chunk := source.read(CHUNK):
                        file.write(chunk)
                return program
    raise Unusable(f"the archive has no file {member}")
