"""Reasons for verdicts that a test makes up."""

from __future__ import annotations

from pluginrelease.api.reasons import Reason

# of which nothing hangs
_PLAIN = {
    "Loaded": Reason.LOADED,
    "Pending": Reason.PENDING,
    "Unhealthy": Reason.CONFIG_MISMATCH,
    "Unknown": Reason.UNKNOWN_SHAPE,
}


def give_reason(state: str, word: str | None = None) -> Reason:
    """Return the reason of this word; without one, a reason that a gateway in this state may have."""
    return Reason(word) if word and word != state else _PLAIN[state]
