"""What may be said of a gateway: the table of signs, one row per rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pluginrelease.core import placeholders
from pluginrelease.core.gateway.identity import DesiredPlugin, Incarnation
from pluginrelease.core.gateway.listeners import ListenerError
from pluginrelease.core.gateway.logs import Crash, LogEvent, LogFindings, LogKind, Missing
from pluginrelease.core.gateway.observations import Baseline, ExtensionConfig, FilterKind, PodObservation, PodRef, Stats
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict
from pluginrelease.core.rollout import decisions

WRITE = datetime(2026, 11, 20, 12, tzinfo=UTC)
NEW, OLD = "a" * 64, "b" * 64
WANTED = DesiredPlugin("apps", "header", NEW, {"allow": True}, "FAIL_CLOSE")
POD = PodRef("apps", "gateway-1", "uid-1", ready=True)
STARTED = WRITE - timedelta(hours=1)
RUN = Incarnation("uid-1", STARTED)


def after(seconds: float) -> datetime:
    return WRITE + timedelta(seconds=seconds)


ENTRY = ExtensionConfig(
    name="extensions.istio.io/wasmplugin/apps.header",
    kind=FilterKind.WASM,
    type_url="type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
    plugin_name="apps.header",
    path=f"/var/lib/istio/data/x/{NEW}.wasm",
    digest_hex=NEW,
    config={"allow": True},
    fail="FAIL_CLOSED",
    last_updated=after(1),
)
BEFORE = Baseline(
    RUN, config_reload=1, config_fail=0, update_rejected=0, vm_created=5, vm_reloads=0, named=True, digest_hex=OLD
)
# a running gateway with two workers that has received the wanted configuration and has not shown more
QUIET = PodObservation(
    POD,
    after(5),
    envoy_version="1.40.0",
    concurrency=2,
    started_at=STARTED,
    entries=(ENTRY,),
    code_files=1,
    referenced=True,
    stats=Stats(vm_created=5, vm_active=4, vm_reloads=0, named=True),
)
COUNTED = replace(QUIET, stats=replace(QUIET.stats, config_reload=2, config_fail=0, update_rejected=0))
CROWD = replace(QUIET, code_files=2, stats=replace(QUIET.stats, vm_active=8))


def event(kind: LogKind, at: datetime | None = None, *causes: str, everywhere: bool = True) -> LogFindings:
    return LogFindings((LogEvent(at or after(2), kind, f"line of {kind}", causes, everywhere),))


def entry(**changes: Any) -> tuple[ExtensionConfig, ...]:
    return (replace(ENTRY, **changes),)


TIMEOUT = timedelta(seconds=60)
GIVEN: Mapping[str, Any] = {"write_at": WRITE, "baselines": [BEFORE], "load_timeout": TIMEOUT}


def judged(sighting: PodObservation, *, late: bool = False, **given: Any) -> PodVerdict:
    at = WRITE + TIMEOUT + timedelta(seconds=1)
    found = judging.judge(WANTED, [replace(sighting, at=at) if late else sighting], **{**GIVEN, **given})
    return found.pods[0]


# ------------------------------------------------------------------------------------------------------ positive signs

FRESH = replace(QUIET, started_at=after(10), entries=entry(last_updated=after(11)))

POSITIVE: Mapping[str, tuple[PodObservation, dict[str, Any]]] = {
    "the counter of reloads rose and no refusal was counted": (COUNTED, {}),
    "Envoy logged that it created our plugin": (replace(QUIET, log=event(LogKind.LOADED)), {}),
    "an Envoy that started later made our statistics": (FRESH, {}),
    "our statistics are new since the write": (QUIET, {"baselines": [replace(BEFORE, named=False)]}),
    "an older Envoy that started later runs as many VMs as needed": (
        replace(FRESH, envoy_version="1.32.4", stats=Stats(vm_active=4)),
        {},
    ),
    "VMs were made for new code": (replace(QUIET, stats=replace(QUIET.stats, vm_created=10)), {}),
    "this run of this Envoy was proved before": (QUIET, {"verified": [RUN]}),
}


@pytest.mark.parametrize("why", POSITIVE)
def test_one_positive_sign_is_enough(why: str) -> None:
    """All mandatory signs and one positive one make a pod Loaded, with the sign as evidence."""
    sighting, given = POSITIVE[why]
    found = judged(sighting, **given)
    assert (found.state, found.reason) == (State.LOADED, "Loaded"), why
    assert found.evidence


NOT_POSITIVE: Mapping[str, tuple[PodObservation, dict[str, Any]]] = {
    "nothing bad was seen": (QUIET, {}),
    "a refused configuration raises config_reload too": (
        replace(COUNTED, stats=replace(COUNTED.stats, update_rejected=1, config_fail=1)),
        {},
    ),
    "the counter did not rise": (replace(COUNTED, stats=replace(COUNTED.stats, config_reload=1)), {}),
    "the baseline is lost": (COUNTED, {"baselines": []}),
    "the baseline is of another run of Envoy": (
        COUNTED,
        {"baselines": [replace(BEFORE, incarnation=Incarnation("uid-1", STARTED - timedelta(1)))]},
    ),
    "Envoy created what it had before this configuration": (
        replace(QUIET, log=event(LogKind.LOADED, after(0.5))),
        {},
    ),
    "the log does not say when Envoy created it": (
        replace(QUIET, entries=entry(last_updated=None), log=event(LogKind.LOADED)),
        {},
    ),
    "a running Envoy had our statistics before": (QUIET, {"baselines": [replace(BEFORE, named=True)]}),
    "an Envoy that started later has no statistics of ours": (
        replace(FRESH, stats=replace(QUIET.stats, named=False)),
        {},
    ),
    "no word yet of all workers, one of which may hang": (
        replace(QUIET, log=event(LogKind.LOADED, everywhere=False)),
        {},
    ),
    "a worker has no VM, and with FAIL_RELOAD the next request may start it": (
        replace(
            FRESH, entries=entry(fail="FAIL_RELOAD", last_updated=after(11)), stats=replace(QUIET.stats, vm_active=3)
        ),
        {},
    ),
    "the VMs may be those of a plugin with the same code": (
        replace(FRESH, envoy_version="1.32.4", stats=Stats(vm_active=4), code_shared=True),
        {},
    ),
    "one VM was made, as for a refused module": (replace(QUIET, stats=replace(QUIET.stats, vm_created=6)), {}),
    "the VMs may be a neighbour's": (
        replace(QUIET, stats=replace(QUIET.stats, vm_created=10), others_updated=after(1)),
        {},
    ),
    "the VMs may be reloads after crashes": (
        replace(QUIET, stats=replace(QUIET.stats, vm_created=10, vm_reloads=5)),
        {},
    ),
    "the code was there before, only its configuration is new": (
        replace(QUIET, stats=replace(QUIET.stats, vm_created=10)),
        {"baselines": [replace(BEFORE, digest_hex=NEW)]},
    ),
    "another run of this pod's Envoy was proved": (
        QUIET,
        {"verified": [Incarnation("uid-1", STARTED - timedelta(1)), Incarnation("uid-2", STARTED)]},
    ),
}


@pytest.mark.parametrize("why", NOT_POSITIVE)
def test_what_is_no_sign(why: str) -> None:
    """Without a positive sign a pod is Pending, and Unknown when the time is up: never Loaded, never blamed."""
    sighting, given = NOT_POSITIVE[why]
    assert judged(sighting, **given).reason == "AwaitingPositiveSign", why
    late = judged(sighting, **given, late=True)
    assert (late.state, late.reason) == (State.UNKNOWN, "NoPositiveSign"), why


# -------------------------------------------------------------------------------------------------------------- trouble

REFUSED_ONCE = event(LogKind.REJECTED, after(2), "Wasm VM failed Missing or unknown Proxy-Wasm ABI version")
STAND_IN = {"kind": FilterKind.RBAC_DENY, "digest_hex": None, "config": None, "path": ""}
PROVED: dict[str, Any] = {"verified": [RUN]}

TROUBLE: list[tuple[str, PodObservation, State, str]] = [
    ("not ready yet", replace(COUNTED, pod=replace(POD, ready=False)), State.PENDING, "PodNotReady"),
    ("not read", replace(COUNTED, unreachable="no answer within 5 s"), State.PENDING, "PodUnreachable"),
    ("a strange document", replace(COUNTED, unknown=("/stats did not answer",)), State.UNKNOWN, "UnknownShape"),
    ("another filter", replace(COUNTED, entries=entry(kind=FilterKind.OTHER)), State.UNKNOWN, "UnknownShape"),
    ("a file without a digest", replace(COUNTED, entries=entry(digest_hex=None)), State.UNKNOWN, "UnknownShape"),
    ("a deny-all stand-in", replace(COUNTED, entries=entry(**STAND_IN)), State.UNHEALTHY, "FetchFailed"),
    (
        "an allow-all stand-in",
        replace(COUNTED, entries=entry(**{**STAND_IN, "kind": FilterKind.RBAC_ALLOW})),
        State.UNHEALTHY,
        "RunningUnprotected",
    ),
    (
        "a stand-in of an earlier revision",
        replace(COUNTED, entries=entry(**STAND_IN, last_updated=after(-60))),
        State.PENDING,
        "AwaitingConfig",
    ),
    (
        "a stand-in that stayed because this revision failed too",
        replace(COUNTED, entries=entry(**STAND_IN, last_updated=after(-60)), log=event(LogKind.FETCH_FAILED)),
        State.UNHEALTHY,
        "FetchFailed",
    ),
    ("the old code", replace(COUNTED, entries=entry(digest_hex=OLD)), State.PENDING, "AwaitingConfig"),
    ("another configuration", replace(COUNTED, entries=entry(config={})), State.PENDING, "AwaitingConfig"),
    (
        "one of two entries is old",
        replace(COUNTED, entries=(ENTRY, *entry(digest_hex=OLD))),
        State.PENDING,
        "AwaitingConfig",
    ),
    ("nothing received", replace(COUNTED, entries=()), State.PENDING, "AwaitingConfig"),
    ("no HTTP listener", replace(COUNTED, entries=(), referenced=None), State.PENDING, "NoHttpListener"),
    (
        "an older Istio keeps the old code when it cannot fetch the new",
        replace(COUNTED, entries=entry(digest_hex=OLD), log=event(LogKind.FETCH_FAILED)),
        State.UNHEALTHY,
        "FetchFailed",
    ),
    ("refused by Envoy", replace(COUNTED, log=REFUSED_ONCE), State.UNHEALTHY, "PluginRejected"),
    (
        "refused, at a time that the log does not tell",
        replace(COUNTED, log=LogFindings((LogEvent(None, LogKind.REJECTED, "x"),))),
        State.UNHEALTHY,
        "PluginRejected",
    ),
    (
        "a refusal that this configuration replaced",
        replace(COUNTED, log=event(LogKind.REJECTED, after(0.5))),
        State.LOADED,
        "Loaded",
    ),
    (
        "a refusal after a success",
        replace(COUNTED, log=LogFindings((*event(LogKind.LOADED, after(1)).events, *REFUSED_ONCE.events))),
        State.UNHEALTHY,
        "PluginRejected",
    ),
    (
        "its listener refused",
        replace(COUNTED, log=event(LogKind.LISTENER_REJECTED)),
        State.UNHEALTHY,
        "ListenerRejected",
    ),
    (
        "a listener's error that names us",
        replace(COUNTED, listener_errors=(ListenerError("l", "x", after(2)),)),
        State.UNHEALTHY,
        "ListenerRejected",
    ),
    (
        "a listener's error from before this configuration",
        replace(COUNTED, listener_errors=(ListenerError("l", "x", after(0)),)),
        State.LOADED,
        "Loaded",
    ),
    (
        "a listener's error from before Envoy's word that it has loaded this configuration",
        replace(COUNTED, listener_errors=(ListenerError("l", "x", after(2)),), log=event(LogKind.LOADED)),
        State.LOADED,
        "Loaded",
    ),
    (
        "a listener's error that names others",
        replace(COUNTED, other_listener_errors=(ListenerError("l", "x", after(2)),)),
        State.LOADED,
        "Loaded",
    ),
    ("a listener that is warming", replace(COUNTED, warming=("0.0.0.0_8080",)), State.PENDING, "AwaitingListener"),
    ("no listener uses it", replace(COUNTED, referenced=False), State.PENDING, "AwaitingListener"),
    ("a cut log", replace(QUIET, log=LogFindings(truncated=True)), State.PENDING, "LogIncomplete"),
    (
        "a cut log, and a counter that needs none",
        replace(COUNTED, log=LogFindings(truncated=True)),
        State.LOADED,
        "Loaded",
    ),
    (
        "a cut log, and VMs that could be a refused module's",
        replace(FRESH, log=LogFindings(truncated=True)),
        State.PENDING,
        "LogIncomplete",
    ),
]


@pytest.mark.parametrize(("why", "sighting", "state", "reason"), TROUBLE, ids=[row[0] for row in TROUBLE])
def test_mandatory_signs(why: str, sighting: PodObservation, state: State, reason: str) -> None:
    """Whatever positive sign there is, a mandatory one that fails decides, and before the deadline only facts blame."""
    found = judged(sighting)
    assert (found.state, found.reason) == (state, reason), why
    assert found.message


@pytest.mark.parametrize(
    ("why", "sighting"), [(row[0], row[1]) for row in TROUBLE if row[2] is not State.LOADED and "cut log" not in row[0]]
)
def test_what_was_proved_before_does_not_excuse(why: str, sighting: PodObservation) -> None:
    """A pod that was Loaded with this very revision is not Loaded any more when a mandatory sign fails."""
    assert judged(sighting, **PROVED).state is not State.LOADED, why


@pytest.mark.parametrize(
    ("sighting", "state", "reason"),
    [
        (replace(COUNTED, unreachable="x"), State.UNKNOWN, "PodUnreachable"),
        (replace(COUNTED, pod=replace(POD, ready=False)), State.UNKNOWN, "PodNotReady"),
        (replace(COUNTED, entries=entry(digest_hex=OLD)), State.UNHEALTHY, "ConfigNotDelivered"),
        (replace(COUNTED, entries=()), State.UNHEALTHY, "ConfigNotDelivered"),
        (replace(COUNTED, entries=entry(config={})), State.UNHEALTHY, "ConfigMismatch"),
        (replace(COUNTED, entries=(), referenced=None), State.UNKNOWN, "NoHttpListener"),
        (replace(COUNTED, entries=entry(**STAND_IN, last_updated=after(-60))), State.UNHEALTHY, "FetchFailed"),
        (replace(COUNTED, warming=("l",)), State.UNHEALTHY, "ListenerStuck"),
        (replace(COUNTED, referenced=False), State.UNHEALTHY, "NotReferenced"),
        (replace(QUIET, log=LogFindings(truncated=True)), State.UNKNOWN, "LogIncomplete"),
    ],
)
def test_what_silence_means_when_the_time_is_up(sighting: PodObservation, state: State, reason: str) -> None:
    """After the deadline waiting becomes a finding; a pod that merely is not ready is never blamed on the plugin."""
    found = judged(sighting, late=True)
    assert (found.state, found.reason) == (state, reason)


# ------------------------------------------------------------------------------------------------------------ workers

LEFT_OUT = Missing(after(1.5), "16", "Wasm VM failed Failed to configure thread-local Wasm plugin")
GONE = replace(COUNTED.stats, vm_active=1)
BY_WORKERS = event(LogKind.REFUSED_BY_WORKERS, None, LEFT_OUT.line)


def left_out(*found: Missing, truncated: bool = False) -> LogFindings:
    """Envoy's word that it created the plugin, and lines of threads on which it failed."""
    return replace(event(LogKind.LOADED), missing=found or (LEFT_OUT,), truncated=truncated)


WORKERS: list[tuple[str, PodObservation, State, str]] = [
    (
        "the thread that says created has failed itself",
        replace(COUNTED, log=BY_WORKERS),
        State.UNHEALTHY,
        "PluginRefusedByWorkers",
    ),
    (
        "that is so among several codes as well, as the line names ours",
        replace(CROWD, log=BY_WORKERS),
        State.UNHEALTHY,
        "PluginRefusedByWorkers",
    ),
    (
        "config_reload rose and Envoy says created, but the VMs are gone",
        replace(COUNTED, stats=GONE, log=left_out()),
        State.UNHEALTHY,
        "PluginRefusedByWorkers",
    ),
    (
        "the count is hidden, and no other code runs there",
        replace(COUNTED, stats=replace(GONE, vm_active=None), log=left_out()),
        State.UNHEALTHY,
        "PluginRefusedByWorkers",
    ),
    (
        "too few VMs and no line yet: workers may be at it",
        replace(COUNTED, stats=GONE),
        State.PENDING,
        "AwaitingPositiveSign",
    ),
    (
        "too few VMs of several codes, and a line of one of them: nobody knows whose",
        replace(CROWD, stats=replace(CROWD.stats, vm_active=5), log=left_out()),
        State.PENDING,
        "AwaitingPositiveSign",
    ),
    (
        "a line, and more VMs than ours needs: an old listener drains, or other code runs there",
        replace(QUIET, stats=replace(QUIET.stats, vm_active=8), log=left_out()),
        State.PENDING,
        "AwaitingPositiveSign",
    ),
    (
        "several codes and all their VMs: the line was a neighbour's, which has recovered",
        replace(CROWD, log=left_out()),
        State.LOADED,
        "Loaded",
    ),
    (
        "several files, perhaps of the same bytes, and no line: fewer VMs are no fault",
        replace(CROWD, stats=replace(CROWD.stats, vm_active=4), log=event(LogKind.LOADED)),
        State.LOADED,
        "Loaded",
    ),
    (
        "a line from before this configuration came",
        replace(COUNTED, log=left_out(replace(LEFT_OUT, at=after(-1)))),
        State.LOADED,
        "Loaded",
    ),
    (
        "an old listener drains: more VMs, not fewer",
        replace(COUNTED, stats=replace(COUNTED.stats, vm_active=8)),
        State.LOADED,
        "Loaded",
    ),
    (
        "a cut log can hide a line, and the VMs are hidden",
        replace(COUNTED, stats=replace(GONE, vm_active=None), log=LogFindings(truncated=True)),
        State.PENDING,
        "LogIncomplete",
    ),
    (
        "other bytes were loaded after it",
        replace(COUNTED, log=LogFindings((*BY_WORKERS.events, *event(LogKind.LOADED, after(3)).events))),
        State.LOADED,
        "Loaded",
    ),
]


@pytest.mark.parametrize(("why", "sighting", "state", "reason"), WORKERS, ids=[row[0] for row in WORKERS])
def test_a_plugin_that_runs_on_no_worker_is_not_loaded(
    why: str, sighting: PodObservation, state: State, reason: str
) -> None:
    """Envoy logs and counts a plugin as created that its workers have refused, and requests pass without it."""
    found = judged(sighting)
    assert (found.state, found.reason) == (state, reason), why


def test_a_worker_that_stays_without_a_vm_is_a_refusal() -> None:
    """When the time is up and no other code runs there, it is this plugin that some worker lacks."""
    late = judged(replace(COUNTED, stats=GONE), late=True)
    assert (late.state, late.reason) == (State.UNHEALTHY, "PluginRefusedByWorkers")
    assert "Of the 4 VMs that the plugin needs, 1 run." in late.message


def test_what_was_proved_is_lost_with_its_vms() -> None:
    """A gateway that ran this revision before does not when its workers have no VM, and does for all a neighbour's."""
    assert judged(replace(COUNTED, stats=GONE, log=left_out()), **PROVED).reason == "PluginRefusedByWorkers"
    neighbours = replace(CROWD, stats=replace(CROWD.stats, vm_active=5), log=left_out())
    assert judged(neighbours, **PROVED).state is State.LOADED


def test_a_refusal_says_what_serves() -> None:
    """In a running Envoy the old code goes on; one that started with the bad code answers 500."""
    running = judged(replace(COUNTED, log=REFUSED_ONCE))
    assert "what ran before goes on running" in running.message
    assert "Missing or unknown Proxy-Wasm ABI version" in running.message
    fresh = judged(replace(FRESH, log=event(LogKind.REJECTED, after(12))))
    assert "answers 500 to every request" in fresh.message


# ------------------------------------------------------------------------------------------------------------ crashes


def crashes(*found: Crash) -> LogFindings:
    return LogFindings(crashes=found)


OURS = "apps.header~istio-translated-wasmplugin"
TRAPPED = Crash(after(3), "15", "Function: proxy_on_request_headers failed")
PANICKED = replace(TRAPPED, plugin=OURS)
SHARED = replace(QUIET, code_shared=True, code_names=(OURS, "apps.twin"))

CRASHES: list[tuple[str, PodObservation, State, str]] = [
    ("ours is the only code there", replace(QUIET, log=crashes(TRAPPED)), State.UNHEALTHY, "PluginCrashed"),
    ("ours printed a panic", replace(CROWD, log=crashes(PANICKED)), State.UNHEALTHY, "PluginCrashed"),
    (
        "a twin of the same code printed it: they share the VM",
        replace(SHARED, log=crashes(replace(TRAPPED, plugin="apps.twin"))),
        State.UNHEALTHY,
        "PluginCrashed",
    ),
    ("one of several, nobody knows which", replace(CROWD, log=crashes(TRAPPED)), State.UNKNOWN, "VMCrashed"),
    (
        "more VMs than our code needs: some other runs there that is not in the dump",
        replace(QUIET, stats=replace(QUIET.stats, vm_active=8), log=crashes(TRAPPED)),
        State.UNKNOWN,
        "VMCrashed",
    ),
    (
        "a neighbour printed a panic",
        replace(CROWD, log=crashes(replace(TRAPPED, plugin="apps.neighbour"))),
        State.LOADED,
        "Loaded",
    ),
    (
        "before this configuration came",
        replace(QUIET, log=crashes(replace(TRAPPED, at=after(0)))),
        State.LOADED,
        "Loaded",
    ),
    (
        "before Envoy's word that it runs this configuration",
        replace(QUIET, log=LogFindings(event(LogKind.LOADED, after(4)).events, crashes=(TRAPPED,))),
        State.LOADED,
        "Loaded",
    ),
    (
        "at a time that the log does not tell",
        replace(QUIET, log=crashes(replace(TRAPPED, at=None))),
        State.UNHEALTHY,
        "PluginCrashed",
    ),
    (
        "with FAIL_OPEN requests pass without it",
        replace(QUIET, entries=entry(fail="FAIL_OPEN"), log=crashes(TRAPPED)),
        State.UNHEALTHY,
        "RunningUnprotected",
    ),
    (
        "with FAIL_RELOAD, a moment ago",
        replace(QUIET, entries=entry(fail="FAIL_RELOAD"), at=after(60), log=crashes(TRAPPED)),
        State.UNHEALTHY,
        "PluginCrashed",
    ),
    (
        "with FAIL_RELOAD, and a minute without another has passed",
        replace(QUIET, entries=entry(fail="FAIL_RELOAD"), at=after(64), log=crashes(TRAPPED)),
        State.LOADED,
        "Loaded",
    ),
    (
        "Higress: a VM of ours is down",
        replace(CROWD, stats=replace(CROWD.stats, crashed=1)),
        State.UNHEALTHY,
        "PluginCrashed",
    ),
    (
        "Higress: it went down since the write and was started again, a moment ago",
        replace(QUIET, stats=replace(QUIET.stats, crashed=0, crashes=5), log=crashes(TRAPPED)),
        State.UNHEALTHY,
        "PluginCrashed",
    ),
    (
        "Higress: and a minute without another has passed",
        replace(QUIET, stats=replace(QUIET.stats, crashed=0, crashes=5), at=after(64), log=crashes(TRAPPED)),
        State.LOADED,
        "Loaded",
    ),
    (
        "Higress: it never came up in a worker",
        replace(QUIET, stats=replace(QUIET.stats, crashed=0, unstarted=1), unstarted="wasm worker …"),
        State.UNHEALTHY,
        "PluginCrashed",
    ),
    (
        "Higress: nor does it there, and requests pass without it",
        replace(QUIET, stats=replace(QUIET.stats, crashed=0, unstarted=1), entries=entry(fail="FAIL_OPEN")),
        State.UNHEALTHY,
        "RunningUnprotected",
    ),
    (
        "Higress: none of ours is down, whatever the log says",
        replace(QUIET, stats=replace(QUIET.stats, crashed=0), log=crashes(TRAPPED)),
        State.LOADED,
        "Loaded",
    ),
]


def test_crashes_of_before_the_write_are_not_counted() -> None:
    """Higress's counter goes on when a plugin is changed: what it showed before the write was about the one before."""
    seen = replace(QUIET, stats=replace(QUIET.stats, crashed=0, crashes=5), log=crashes(TRAPPED))
    old = {**PROVED, "baselines": [replace(BEFORE, crashes=5)]}
    assert judged(seen, **old).state is State.LOADED
    worse = judged(replace(seen, stats=replace(seen.stats, crashes=7)), **old)
    assert (worse.reason, "crashed 2 times" in worse.message) == ("PluginCrashed", True)


def test_another_environment_has_not_arrived() -> None:
    """The wanted code and configuration in another environment is what was there before."""
    assert judged(replace(COUNTED, entries=entry(env={"LEVEL": "info"}))).reason == "AwaitingConfig"


@pytest.mark.parametrize(("why", "sighting", "state", "reason"), CRASHES, ids=[row[0] for row in CRASHES])
def test_a_plugin_that_crashed_is_not_loaded(why: str, sighting: PodObservation, state: State, reason: str) -> None:
    """What was proved before does not excuse a crash since; a neighbour's crash, or an older one, is none of ours."""
    found = judged(sighting, **PROVED)
    assert (found.state, found.reason) == (state, reason), why


def test_a_crash_says_how_much_fails() -> None:
    """One dead worker of two is told as that, with the gateway's own line."""
    one = judged(replace(QUIET, log=crashes(TRAPPED)), **PROVED)
    assert "in 1 of 2 workers, which answer 503" in one.message
    assert TRAPPED.line in one.message
    both = judged(replace(QUIET, log=crashes(TRAPPED, replace(TRAPPED, thread="16"))), **PROVED)
    assert "in 2 of 2 workers" in both.message
    unprotected = judged(replace(QUIET, entries=entry(fail="FAIL_OPEN"), log=crashes(TRAPPED)), **PROVED)
    assert "let every request pass without it" in unprotected.message


@pytest.mark.parametrize(("fail", "kept"), [("FAIL_RELOAD", {RUN}), ("FAIL_CLOSED", set()), ("FAIL_OPEN", set())])
def test_a_plugin_that_starts_again_needs_no_new_proof(fail: str, kept: set[Incarnation]) -> None:
    """With FAIL_RELOAD a pod comes back by itself; otherwise its proof is gone until it is mended."""
    sighting = replace(QUIET, entries=entry(fail=fail), log=crashes(TRAPPED))
    assert judging.judge(WANTED, [sighting], **{**GIVEN, "verified": [RUN]}).verified == kept
    assert judging.judge(WANTED, [sighting], **{**GIVEN, "verified": []}).verified == set()


# ------------------------------------------------------------------------------------------------------------- clocks


def test_a_gateways_clock_is_taken_into_account() -> None:
    """A gateway whose clock is an hour behind started after the write, though its own time says before."""
    behind = timedelta(hours=-1)
    early = replace(FRESH, started_at=after(10) + behind, entries=entry(last_updated=after(11) + behind))
    assert judged(early).state is State.PENDING
    assert judged(replace(early, skew=behind)).state is State.LOADED


# --------------------------------------------------------------------------------------------------------- many pods


def pod(number: int, **changes: Any) -> PodRef:
    return replace(POD, name=f"gateway-{number}", uid=f"uid-{number}", **changes)


def test_no_pods_is_never_loaded() -> None:
    """Nothing seen is nothing proved, also when the only pod is on its way out."""
    for sightings in ([], [replace(COUNTED, pod=pod(1, deleting=True))]):
        found = judging.judge(WANTED, sightings, **GIVEN)
        assert (found.state, found.reason, found.pods) == (State.PENDING, "NoGatewayPods", ())


def test_the_worst_pod_speaks_for_all() -> None:
    """Unhealthy before Unknown before Pending before Loaded; failures are the first rows."""
    sightings = [
        replace(COUNTED, pod=pod(1)),
        replace(QUIET, pod=pod(2)),
        replace(COUNTED, pod=pod(3), log=REFUSED_ONCE),
        replace(COUNTED, pod=pod(4), unknown=("x",)),
        replace(COUNTED, pod=pod(5, deleting=True)),
    ]
    baselines = [replace(BEFORE, incarnation=Incarnation(f"uid-{number}", STARTED)) for number in range(6)]
    found = judging.judge(WANTED, sightings, **{**GIVEN, "baselines": baselines})
    assert (found.state, found.reason) == (State.UNHEALTHY, "PluginRejected")
    assert [row.pod.name for row in found.pods] == ["gateway-3", "gateway-4", "gateway-2", "gateway-1"]
    assert found.message.startswith("1 of 4 gateway pods run the plugin; gateway-3: ")


def fleet(*sightings: PodObservation, **given: Any) -> Verdict:
    """Pods gateway-1, gateway-2 … of one release; those before the first change are Loaded by what was proved."""
    numbered = [
        replace(one, pod=replace(one.pod, name=f"gateway-{at}", uid=f"uid-{at}")) for at, one in enumerate(sightings, 1)
    ]
    known = [Incarnation(f"uid-{number}", STARTED) for number in (1, 2)]
    return judging.judge(WANTED, numbered, **{**GIVEN, "verified": known, "settled": True, **given})


COMING_UP: Mapping[str, PodObservation] = {
    "it has just been made": replace(QUIET, pod=replace(POD, ready=False)),
    "it does not answer yet": replace(QUIET, unreachable="no answer within 5 s"),
    "it has received nothing yet": replace(QUIET, entries=()),
    "its listener is warming": replace(QUIET, warming=("l",)),
    "it has no listener yet": replace(QUIET, entries=(), referenced=None),
    "it has not shown yet that it runs it": QUIET,
}


@pytest.mark.parametrize("why", COMING_UP)
def test_a_pod_that_comes_up_takes_nothing_from_a_settled_release(why: str) -> None:
    """A new pod beside those that run the stable revision is named and does not make it Pending, until it is late."""
    turned = after(3600)
    new = replace(COMING_UP[why], at=after(3610), pod=replace(COMING_UP[why].pod, turned_at=turned))
    old = replace(QUIET, at=after(3610))
    found = fleet(old, old, new)
    message = "2 gateway pods run the plugin; 1 is coming up: gateway-3."
    assert (found.state, found.reason, found.message) == (State.LOADED, "Loaded", message), why
    assert found.pods[0].state is State.PENDING
    assert fleet(old, old, new, settled=False).state is State.PENDING
    late = fleet(old, old, replace(new, at=turned + TIMEOUT + timedelta(seconds=1)))
    assert late.state in (State.UNKNOWN, State.UNHEALTHY), why


def test_pods_that_come_up_alone_are_waited_for() -> None:
    """Where no pod runs the plugin nothing is Loaded, however settled the release was."""
    assert fleet(replace(QUIET, pod=replace(POD, ready=False)), verified=[]).state is State.PENDING


def test_a_pod_that_comes_up_excuses_no_other() -> None:
    """One that is worse than coming up speaks for all."""
    found = fleet(QUIET, replace(QUIET, entries=()), replace(QUIET, log=REFUSED_ONCE))
    assert (found.state, found.reason) == (State.UNHEALTHY, "PluginRejected")


def test_many_pods_that_come_up_are_counted_and_some_named() -> None:
    """A message stays short: three names, however many there are."""
    coming = [replace(QUIET, pod=replace(POD, ready=False))] * 5
    message = "1 gateway pod runs the plugin; 5 are coming up: gateway-2, gateway-3, gateway-4, …."
    assert fleet(QUIET, *coming).message == message


@pytest.mark.parametrize(
    ("turned", "seen_at", "late", "why"),
    [
        (None, 59, False, "the time counts from the write"),
        (None, 61, True, "and is over then"),
        (-3600, 61, True, "a pod that is older than the write has no more time"),
        (3600, 3659, False, "a pod that came later has its own time"),
        (3600, 3661, True, "which ends too"),
    ],
)
def test_each_pod_has_its_own_time(turned: float | None, seen_at: float, late: bool, why: str) -> None:
    """A pod may take `checks.load.timeout` from the write on, or from when it last became ready or ceased to be."""
    one = replace(POD, turned_at=None if turned is None else after(turned))
    found = judged(replace(QUIET, pod=one, at=after(seen_at)))
    assert found.reason == ("NoPositiveSign" if late else "AwaitingPositiveSign"), why


def test_what_is_kept_for_the_next_look() -> None:
    """Proved runs are kept, also of a pod that does not answer just now; not of one that fails or is gone."""
    sightings = [
        replace(COUNTED, pod=pod(1)),
        replace(QUIET, pod=pod(2), unreachable="x", started_at=None),
        replace(QUIET, pod=pod(3), log=REFUSED_ONCE),
    ]
    known = [Incarnation(f"uid-{number}", STARTED) for number in (2, 3, 4)]
    found = judging.judge(WANTED, sightings, **GIVEN, verified=known)
    assert found.verified == {Incarnation("uid-1", STARTED), Incarnation("uid-2", STARTED)}


# -------------------------------------------------------------------------------------------- what is nobody's fault


def row(reason: str, state: State = State.PENDING) -> PodVerdict:
    return PodVerdict(POD, state, reason, "because")


@pytest.mark.parametrize(
    ("reasons", "nothing"),
    [
        (["AwaitingConfig"], True),
        (["ConfigNotDelivered", "AwaitingConfig", "PodNotReady", "PodUnreachable"], True),
        (["ConfigNotDelivered", "Loaded"], False),
        (["AwaitingConfig", "PluginRejected"], False),
        (["AwaitingConfig", "GatewayCrashed"], False),
        (["ConfigNotDelivered", "GatewayUnresponsive"], False),
        (["PodNotReady"], False),
        ([], False),
    ],
)
def test_nothing_has_arrived_anywhere(reasons: list[str], nothing: bool) -> None:
    """Every gateway that can be asked still waits for it."""
    found = Verdict(State.PENDING, "x", "", tuple(map(row, reasons)))
    assert judging.nothing_arrived(found) is nothing


def test_a_control_plane_that_is_stuck_is_no_failure() -> None:
    """It is Unknown whether the gateways would run the revision, the objects are named, and nothing is put back."""
    late = Verdict(State.UNHEALTHY, "ConfigNotDelivered", "", (row("ConfigNotDelivered", State.UNHEALTHY),))
    found = judging.report_stuck(late, ["a/1", "b/2", "c/3", "d/4"])
    assert (found.state, found.reason) == (State.UNKNOWN, "ControlPlaneStuck")
    assert [(one.state, one.reason) for one in found.pods] == [(State.UNKNOWN, "ControlPlaneStuck")]
    assert "a/1, b/2, c/3 and 1 more" in found.message
    assert decisions.find_failure(found, overdue=True) is None


# ------------------------------------------------------------------------------------------------------ configuration


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({}, {}, True),
        ({"a": 1, "b": [1, 2]}, {"b": [1.0, 2.0], "a": 1.0}, True),
        ({"a": True}, {"a": 1}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": None}, {}, False),
        ({"a": 12345678901234567890}, {"a": 12345678901234567000}, True),
        ({"a": "1"}, {"a": 1}, False),
        ({}, "not json", False),
    ],
)
def test_configurations_are_compared_as_istio_carries_them(one: Any, other: Any, equal: bool) -> None:
    """Istio keeps numbers as doubles; everything else must be the same."""
    assert placeholders.is_same(one, other) is equal


def test_no_configuration_is_an_empty_one() -> None:
    """Istio sends no configuration for an empty one."""
    sighting = replace(COUNTED, entries=entry(config={}))
    found = judging.judge(replace(WANTED, config=None), [sighting], **GIVEN)
    assert found.state is State.LOADED
