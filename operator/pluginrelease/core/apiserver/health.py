"""Decide if the operator can do its work (readiness), and if a restart would help (liveness).

Both functions return a sentence that says what is wrong, or None. Times are seconds of one monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass

# a watch ends every few minutes, and is opened again after a pause
REOPEN_SECONDS = 30.0
# kopf's own pauses between tries add up to half a minute; the first listing of a large cluster takes longer than that
HELPLESS_SECONDS = 300.0
LOGIN_PAUSE_MAX = 30.0

# how often the main loop's counter is read
LOOK_SECONDS = 1.0
# one step of a pass never takes that long; the kubelet probes four times, 15 s apart, before it restarts
SLOW_SECONDS = 10.0
# a busy machine never delays a process that long, and the kubelet waits longer
STOPPED_SECONDS = 40.0

# each wait of a pass has a bound, and all of them together are shorter: the pass is given up and starts again
PASS_SECONDS = 900.0
# a pass that does not end after it was given up hangs where only the end of the process helps
HUNG_PASS_SECONDS = 1200.0


@dataclass(frozen=True)
class Pulse:
    """The main loop's counter of turns: its value, when that value was new, and when it was last read.

    Time in which the reading thread was stopped too does not count, for example while the whole process was stopped.
    """

    turns: int
    since: float
    looked: float

    @property
    def stood_still(self) -> float:
        """Seconds without a turn."""
        return self.looked - self.since


def observe_pulse(before: Pulse, turns: int, now: float) -> Pulse:
    """Return the pulse after another reading of the counter."""
    has_turned = turns != before.turns
    had_stopped_too = now - before.looked > SLOW_SECONDS
    return Pulse(turns, now if has_turned or had_stopped_too else before.since, now)


@dataclass(frozen=True)
class Watch:
    """One watch that the operator needs, by the path that it watches.

    ``last_open``: when the stream was last open; None: never. ``is_kopfs``: only kopf opens it again. ``may_miss``: the
    API server may not serve the kind. ``is_missing``: it did not when last asked. ``may_be_forbidden``: a namespace
    without its Role affects only the entries there; that counts as missing, too.
    """

    path: str
    is_kopfs: bool
    may_miss: bool
    may_be_forbidden: bool = False
    last_open: float | None = None
    is_missing: bool = False


@dataclass(frozen=True)
class ContactFacts:
    """What is known of the operator's connection to the API server.

    * ``refusal``: the API server's words if its last answer refused our login.
    * ``answering_since``: every request since then was answered; None: the last one was not.
    * ``failing_since``: no request since then was answered, and there were at least two. One failure alone does not
      count, because the next request may be minutes away.
    * ``stands_by``: the Lease that another operator holds.
    * ``trouble``: why the operator cannot ask for that Lease.
    * ``stood_still``: seconds without a turn of the main loop.
    * ``longest_pass``: for how many seconds the oldest pass is running; 0: none is.
    """

    started: float
    watches: tuple[Watch, ...]
    refusal: str | None = None
    answering_since: float | None = None
    failing_since: float | None = None
    has_ended: bool = False
    stands_by: str | None = None
    trouble: str | None = None
    stood_still: float = 0.0
    longest_pass: float = 0.0


def unready(facts: ContactFacts, now: float) -> str | None:
    """Return why the operator cannot do its work now; None if it can.

    A process that waits for the Lease is ready, because it acts as soon as the Lease is free.
    """
    if facts.has_ended:
        return "a watch of the operator has ended"
    if facts.refusal is not None:
        return f"the API server refuses the operator's login: {facts.refusal}"
    if facts.stands_by is not None:
        return f"{facts.stands_by}; {facts.trouble}" if facts.trouble else None
    unwatched = [watch.path for watch in facts.watches if not is_watched(watch, now)]
    if unwatched and facts.answering_since is not None:
        return f"not watched: {', '.join(dict.fromkeys(unwatched))}"
    # a stream may look open long after the connection is cut
    if unwatched or (facts.failing_since is not None and now - facts.failing_since > REOPEN_SECONDS):
        return "the API server does not answer"
    return None


def is_watched(watch: Watch, now: float) -> bool:
    """Return True if the stream is open or was open a moment ago. A kind that is not installed needs no watch."""
    if watch.may_miss and watch.is_missing:
        return True
    return watch.last_open is not None and now - watch.last_open <= REOPEN_SECONDS


def beyond_help(facts: ContactFacts, now: float) -> str | None:
    """Return why only a restart can help; None if it would not.

    It helps if the API server answers us and a watch of kopf stays closed, or if a pass hangs after it was given up. It
    does not help against a refused login or an API server that is down: a new process would find the same.
    """
    if facts.has_ended:
        return "a watch of the operator has ended"
    if facts.stood_still > SLOW_SECONDS:
        return f"the main loop has not turned for {facts.stood_still:.0f} s"
    if facts.answering_since is None or facts.stands_by is not None:
        return None
    if facts.longest_pass > HUNG_PASS_SECONDS:
        return f"a pass has not ended for {facts.longest_pass:.0f} s"
    for watch in facts.watches:
        since = max(facts.started, facts.answering_since, watch.last_open or 0.0)
        if watch.is_kopfs and now - since > HELPLESS_SECONDS:
            return f"not watched for {now - since:.0f} s, though the API server answers: {watch.path}"
    return None


def login_pause(refused: int) -> float:
    """Return the seconds before the next login after so many refusals in a row.

    The second try is immediate, because a token may just have been renewed.
    """
    return min(LOGIN_PAUSE_MAX, 2.0 ** min(refused - 2, 16)) if refused > 1 else 0.0
