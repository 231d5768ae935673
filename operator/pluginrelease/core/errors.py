"""Errors by what happens next.

Every error carries a CamelCase ``reason`` (the same word in condition, event, log and metric), a ``message`` that
says what was found, and a ``remedy`` that says what to do. The pass has one ending that turns them into status:

* `Refused`: a person must act; not tried again until the spec, or something it names, changes.
* `Waiting`: the release is right, something it needs is not there yet; looked at again after ``retry_after``.
* `Transient`: the world did not answer; tried again with back-off.
"""

from __future__ import annotations

from typing import Self

from pluginrelease.api.reasons import Reason


class ReleaseError(Exception):
    """The root of all errors that end in a condition."""

    def __init__(self, reason: Reason, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.remedy = remedy

    def reworded(self, message: str) -> Self:
        """Return the same error with another message."""
        other = type(self).__new__(type(self), message)
        other.__dict__.update(self.__dict__, message=message)
        return other

    def sentence(self) -> str:
        """What was found, then what to do: the text of a condition."""
        return f"{self.message.rstrip('.')}. {self.remedy}".strip()


class Refused(ReleaseError):
    """A person must act. Ready=False, Stalled=True.

    ``recheck`` (seconds): when to see whether somebody did, for what can be seen by one cheap request to the API
    server. None: at the next change of the release, or at the resync.
    """

    def __init__(self, reason: Reason, message: str, remedy: str = "", *, recheck: float | None = None) -> None:
        super().__init__(reason, message, remedy)
        self.recheck = recheck


class Waiting(ReleaseError):
    """Something else must happen first. Ready=False, Reconciling=True, looked at again after ``retry_after`` s."""

    def __init__(self, reason: Reason, message: str, remedy: str = "", *, retry_after: float = 30.0) -> None:
        super().__init__(reason, message, remedy)
        self.retry_after = retry_after


class Transient(ReleaseError):
    """The world did not answer as it should. Ready=False, Reconciling=True, tried again with back-off.

    ``retry_after`` (seconds) is what the other side asked for, for example by a Retry-After header.
    """

    def __init__(self, reason: Reason, message: str, remedy: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(reason, message, remedy)
        self.retry_after = retry_after
