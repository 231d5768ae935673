"""A user's docker configuration: its own entries, and the credential helpers that it names, which are programs.

Only the command line uses it: the operator has pull secrets. A helper gets only the registry's name, on its standard
input. Its answer goes only to that registry.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import subprocess
import time
from pathlib import Path
from subprocess import PIPE
from typing import IO, Any

from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact.image_manifests import Reference
from pluginrelease.core.errors import Refused
from pluginrelease.core.registry import credential_helpers, credentials
from pluginrelease.core.registry.credential_helpers import MAX_ANSWER_BYTES, Helper
from pluginrelease.core.registry.credentials import Credentials

HELPER_SECONDS = 60.0  # a helper may ask the user, or a cloud
LOOK_SECONDS = 0.1  # how often to check whether the helper has ended, in case a child of it keeps a pipe open
PIECE_BYTES = 65536

JSON = dict[str, Any]


class Desk:
    """One config.json. Its repr shows none of its content."""

    def __init__(self, file: Path, content: JSON, seconds: float = HELPER_SECONDS) -> None:
        self._file = file
        self._content = content
        self._seconds = min(seconds, HELPER_SECONDS)
        self._known: dict[Helper, Credentials | None] = {}

    def find(self, reference: Reference) -> Credentials | None:
        """Return the credentials for a reference, or None. A helper's come before the file's own, as in docker.

        Raises `Refused` for an invalid entry, and for a helper that is missing or fails.
        """
        helper = credential_helpers.find_helper(self._content, reference)
        if helper is not None:
            if helper not in self._known:
                self._known[helper] = self._ask(helper)
            if (found := self._known[helper]) is not None:
                return found
        return self._own(reference)

    def why_none(self, reference: Reference) -> str:
        """Return why there are no credentials for a reference, as half a sentence."""
        helper = credential_helpers.find_helper(self._content, reference)
        if helper is not None:
            return f"{helper.program}, which {self._file} names, has none for {helper.server}"
        listed = ", ".join(credentials.list_hosts(self._auths())) if self._content.get("auths") else ""
        return f"{self._file} has no entry for it (it has {listed or 'nothing'})"

    def _own(self, reference: Reference) -> Credentials | None:
        """Return the credentials that the file itself has."""
        if not self._content.get("auths"):
            return None
        try:
            return credentials.find(self._auths(), reference)
        except Refused as refused:
            what = refused.message.partition(": ")[2]
            raise Refused(
                Reason.INVALID_DOCKER_CONFIG, f"{self._file} cannot be used: {what}", "Log in again, or correct it"
            ) from None

    def _auths(self) -> bytes:
        return json.dumps({"auths": self._content["auths"]}).encode()

    def _ask(self, helper: Helper) -> Credentials | None:
        program = shutil.which(helper.program)
        if program is None:
            raise credential_helpers.refuse_missing(helper, str(self._file))
        try:
            code, out, words = _run(program, helper.server, self._seconds)
        except TimeoutError:
            raise credential_helpers.refuse_failed(helper, f"did not end within {self._seconds:g} s") from None
        except OSError as error:
            raise credential_helpers.refuse_failed(helper, f"cannot be run: {error.strerror}") from None
        if len(out) > MAX_ANSWER_BYTES:
            raise credential_helpers.refuse_failed(helper, f"wrote more than {MAX_ANSWER_BYTES} bytes")
        return credential_helpers.read_answer(helper, code, out, words)


def _run(program: str, server: str, seconds: float) -> tuple[int, bytes, bytes]:
    """Run ``docker-credential-… get``; return its exit code, output and error output. Raises TimeoutError.

    It stays in the terminal's session, because it may ask the user there.
    """
    deadline = time.monotonic() + seconds
    with subprocess.Popen([program, "get"], stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        try:
            with contextlib.suppress(BrokenPipeError), _pipe(process.stdin) as stdin:
                stdin.write(server.encode())
            out, words = _collect(process, deadline)
            code = 0 if len(out) > MAX_ANSWER_BYTES else process.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        finally:
            process.kill()
    return code, out, words


def _collect(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes]:
    """Return all output, at most one byte more than allowed. Do not wait for a child that the program left running."""
    out, words = bytearray(), bytearray()
    with selectors.DefaultSelector() as waiting:
        result = waiting.register(_pipe(process.stdout), selectors.EVENT_READ, out)
        waiting.register(_pipe(process.stderr), selectors.EVENT_READ, words)
        while len(out) <= MAX_ANSWER_BYTES and (result in waiting.get_map().values() or process.poll() is None):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            for key, _ in waiting.select(min(left, LOOK_SECONDS)):
                piece = os.read(key.fd, PIECE_BYTES)
                key.data.extend(piece[: MAX_ANSWER_BYTES + 1 - len(key.data)])
                if not piece:
                    waiting.unregister(key.fileobj)
        return bytes(out), bytes(words)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101  all three were asked for
    return pipe
