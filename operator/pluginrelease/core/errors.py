"""Errors, by what happens next.

Every error has a CamelCase ``reason`` (the same word in condition, event, log and metric), a ``message`` that says what
was found, and a ``remedy`` that says what to do. `core.status` turns them into conditions:

* `Refused`: a person must act. The operator tries again when the spec, or an object that it names, changes.
* `Waiting`: the release is right, but something it needs is missing. The operator checks again after ``retry_after``.
* `Transient`: a server did not answer properly. The operator tries again with back-off.
"""

from __future__ import annotations

from typing import Self

from pluginrelease.api.reasons import Reason


class ReleaseError(Exception):
    """Base class of all errors that end in a condition."""

    def __init__(self, reason: Reason, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.remedy = remedy

    def reword(self, message: str) -> Self:
        """Return the same error with another message."""
        other = type(self).__new__(type(self), message)
        other.__dict__.update(self.__dict__, message=message)
        return other

    def sentence(self) -> str:
        """Return what was found, then what to do: the text of a condition."""
        return f"{self.message.rstrip('.')}. {self.remedy}".strip()


class Refused(ReleaseError):
    """A person must act. Ready=False, Stalled=True.

    ``recheck`` (seconds): when to check if the cause is gone, where one cheap request to the API server shows that.
    None: at the next change of the release, or at the resync.
    """

    def __init__(self, reason: Reason, message: str, remedy: str = "", *, recheck: float | None = None) -> None:
        super().__init__(reason, message, remedy)
        self.recheck = recheck


class Waiting(ReleaseError):
    """Something else must happen first. Ready=False, Reconciling=True; checked again after ``retry_after`` seconds."""

    def __init__(self, reason: Reason, message: str, remedy: str = "", *, retry_after: float = 30.0) -> None:
        super().__init__(reason, message, remedy)
        self.retry_after = retry_after


class Transient(ReleaseError):
    """A server did not answer as it should. Ready=False, Reconciling=True; tried again with back-off.

    ``retry_after`` (seconds) is what the server asked for, for example in a Retry-After header.
    """

    def __init__(self, reason: Reason, message: str, remedy: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(reason, message, remedy)
        self.retry_after = retry_after


class OwnFault(Transient):
    """A bug in the operator's own code.

    It is reported like any other error, and never filtered out as an expected one.
    """
