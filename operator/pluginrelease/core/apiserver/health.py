"""Whether the operator can do its work (readiness), and whether a restart would help (liveness).

Both answer with a sentence that says what is wrong, or None. Times are seconds of one monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass

# a watch ends every few minutes, and is opened again after a pause
REOPEN_SECONDS = 30.0
# kopf's own pauses between tries add up to half a minute; the first listing of a large cluster takes longer than that
HELPLESS_SECONDS = 300.0
LOGIN_PAUSE_MAX = 30.0


@dataclass(frozen=True)
class Watch:
    """One watch that the operator needs, by the path of what is watched.

    ``last_open``: when the stream was last seen open; None: never. ``is_kopfs``: nothing of ours opens it again.
    ``may_miss``: whether the kind may be unknown to the API server, and ``is_missing`` whether it was when last asked.
    """

    path: str
    is_kopfs: bool
    may_miss: bool
    last_open: float | None = None
    is_missing: bool = False


@dataclass(frozen=True)
class Facts:
    """What is known of the operator's connection.

    ``refusal``: the API server's words if its last answer was that it does not know us. ``answering_since``: from when
    on every request was answered, and to us; None: the last one was not. ``failing_since``: from when on none was, of
    two or more: after a single one there may be nothing to ask for minutes.
    """

    started: float
    watches: tuple[Watch, ...]
    refusal: str | None = None
    answering_since: float | None = None
    failing_since: float | None = None
    has_ended: bool = False


def unready(facts: Facts, now: float) -> str | None:
    """Why the operator cannot do its work now."""
    if facts.has_ended:
        return "a watch of the operator has ended"
    if facts.refusal is not None:
        return f"the API server refuses the operator's login: {facts.refusal}"
    unwatched = [watch.path for watch in facts.watches if not is_watched(watch, now)]
    if unwatched and facts.answering_since is not None:
        return f"not watched: {', '.join(unwatched)}"
    # a stream may stay open long after the way to the server is cut
    if unwatched or (facts.failing_since is not None and now - facts.failing_since > REOPEN_SECONDS):
        return "the API server does not answer"
    return None


def is_watched(watch: Watch, now: float) -> bool:
    """Whether its stream is open, or was a moment ago; a kind that is not installed needs no watch."""
    if watch.may_miss and watch.is_missing:
        return True
    return watch.last_open is not None and now - watch.last_open <= REOPEN_SECONDS


def beyond_help(facts: Facts, now: float) -> str | None:
    """Why only a restart can help: the API server answers us, and what kopf is to watch stays unwatched.

    A login that is refused and an API server that is down are no reason: a new process would find the same.
    """
    if facts.has_ended:
        return "a watch of the operator has ended"
    if facts.answering_since is None:
        return None
    for watch in facts.watches:
        since = max(facts.started, facts.answering_since, watch.last_open or 0.0)
        if watch.is_kopfs and now - since > HELPLESS_SECONDS:
            return f"not watched for {now - since:.0f} s, though the API server answers: {watch.path}"
    return None


def login_pause(refused: int) -> float:
    """Seconds before the next login when so many in a row were refused. The second try is at once: a token may just
    have been renewed."""
    return min(LOGIN_PAUSE_MAX, 2.0 ** min(refused - 2, 16)) if refused > 1 else 0.0
