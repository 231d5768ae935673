"""When the operator is not ready, and when only a restart can help it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pluginrelease.core.apiserver import health
from pluginrelease.core.apiserver.health import (
    HELPLESS_SECONDS,
    HUNG_PASS_SECONDS,
    REOPEN_SECONDS,
    SLOW_SECONDS,
    ContactFacts,
    Pulse,
    Watch,
)

NOW = 10_000.0
RELEASES = Watch("/apis/pluginrelease.io/v1alpha1/pluginreleases", is_kopfs=True, may_miss=False, last_open=NOW)
PLUGINS = Watch("/apis/extensions.istio.io/v1alpha1/wasmplugins", is_kopfs=False, may_miss=True, last_open=NOW)
WELL = ContactFacts(started=0.0, watches=(RELEASES, PLUGINS), answering_since=0.0)


def facts(releases: Watch = RELEASES, plugins: Watch = PLUGINS, **changes: object) -> ContactFacts:
    return replace(WELL, watches=(releases, plugins), **changes)  # type: ignore[arg-type]


def since(watch: Watch, seconds: float) -> Watch:
    """The same, closed for so long."""
    return replace(watch, last_open=NOW - seconds)


NEVER = replace(RELEASES, last_open=None)
ABSENT = replace(PLUGINS, last_open=None, is_missing=True)
LONG = HELPLESS_SECONDS + 1
DOWN = {"answering_since": None}
BACK = {"answering_since": NOW - 5}
REFUSED = {"refusal": "401 Unauthorized", "answering_since": None}

# reason, facts, words of what is not ready (None: ready), whether a restart helps
CASES = [
    ("everything is watched", WELL, None, False),
    ("a watch that ended is opened again", facts(since(RELEASES, REOPEN_SECONDS - 1)), None, False),
    ("it has just started", facts(NEVER, started=NOW - 1, answering_since=NOW - 1), "not watched", False),
    ("it has not reached the API server yet", facts(NEVER, started=NOW - 1, **DOWN), "not answer", False),
    ("the API server is down for a moment", facts(since(RELEASES, 5), **DOWN), None, False),
    (
        "the API server is down: a new process would find the same",
        facts(since(RELEASES, LONG), **DOWN),
        "not answer",
        False,
    ),
    (
        "its way is cut, and the streams do not know yet",
        facts(answering_since=None, failing_since=NOW - REOPEN_SECONDS - 1),
        "not answer",
        False,
    ),
    ("two requests failed a moment ago", facts(answering_since=None, failing_since=NOW - 5), None, False),
    ("it was down for long, and is back", facts(since(RELEASES, LONG), **BACK), "not watched", False),
    ("the login is refused", facts(**REFUSED), "401 Unauthorized", False),
    ("the login is refused for long", facts(since(RELEASES, LONG), **REFUSED), "401 Unauthorized", False),
    ("kopf forgot its watch", facts(since(RELEASES, LONG)), RELEASES.path, True),
    ("kopf never began its watch", facts(NEVER), RELEASES.path, True),
    ("the definition of releases is missing", facts(replace(NEVER, is_missing=True)), RELEASES.path, True),
    ("this mesh is not installed", facts(plugins=ABSENT), None, False),
    ("ours is tried again by ourselves", facts(plugins=since(PLUGINS, LONG)), PLUGINS.path, False),
    (
        "a gateways' namespace without its Role concerns its entries alone",
        facts(plugins=replace(ABSENT, may_be_forbidden=True)),
        None,
        False,
    ),
    ("it stands by, and watches nothing yet", facts(NEVER, stands_by="stands by"), None, False),
    (
        "it stands by, and may not ask for the Lease",
        facts(NEVER, stands_by="stands by", trouble="forbidden"),
        "stands by; forbidden",
        False,
    ),
    ("a main loop that is busy for a moment", replace(WELL, stood_still=SLOW_SECONDS - 1), None, False),
    ("a pass that takes long is no reason", replace(WELL, longest_pass=HUNG_PASS_SECONDS - 1), None, False),
    ("a pass hangs, and was given up in vain", replace(WELL, longest_pass=HUNG_PASS_SECONDS + 1), None, True),
    (
        "a pass hangs while the API server is down: a new process would find the same",
        replace(WELL, longest_pass=HUNG_PASS_SECONDS + 1, **DOWN),  # type: ignore[arg-type]
        None,
        False,
    ),
    ("a task that never ends has ended", replace(WELL, has_ended=True), "has ended", True),
]


@pytest.mark.parametrize(("reason", "found", "words", "helps"), CASES, ids=[row[0] for row in CASES])
def test_health(reason: str, found: ContactFacts, words: str | None, helps: bool) -> None:
    """Ready means logged in and watching; alive is everything that a restart would not mend."""
    said = health.unready(found, NOW)
    assert (said is None) == (words is None), said
    assert (words or "") in (said or ""), reason
    assert (health.beyond_help(found, NOW) is not None) is helps


def test_a_login_that_is_refused_waits_longer_each_time() -> None:
    """The first try after a refusal is at once, for a token may just have been renewed; then pauses grow to 30 s."""
    assert [health.login_pause(refused) for refused in range(9)] == [0, 0, 1, 2, 4, 8, 16, 30, 30]
    assert health.login_pause(10**6) == health.LOGIN_PAUSE_MAX


def test_a_main_loop_that_stands_still_is_not_alive() -> None:
    """It cannot act, and a restart helps, also while it stands by."""
    stuck = facts(stands_by="stands by", stood_still=SLOW_SECONDS + 1)
    assert "main loop" in (health.beyond_help(stuck, NOW) or "")


# reason, the looks at the main loop as (its turns, when), seconds for which it stood still at the last of them
PULSES = [
    ("it turns", [(1, 1.0), (2, 2.0), (3, 3.0)], 0.0),
    ("it turned once in a while", [(1, 1.0), (1, 2.0), (1, 3.0), (2, 4.0)], 0.0),
    ("it does not turn", [(1, 1.0), (1, 2.0), (1, 3.0), (1, 4.0)], 3.0),
    ("the whole process was stopped", [(1, 1.0), (1, 2.0), (1, 600.0), (1, 601.0)], 1.0),
]


@pytest.mark.parametrize(("reason", "looks", "seconds"), PULSES, ids=[row[0] for row in PULSES])
def test_pulse(reason: str, looks: list[tuple[int, float]], seconds: float) -> None:
    """The time without a turn counts only while whoever looks was awake."""
    pulse = Pulse(0, 0.0, 0.0)
    for turns, now in looks:
        pulse = health.observe_pulse(pulse, turns, now)
    assert pulse.stood_still == seconds, reason
