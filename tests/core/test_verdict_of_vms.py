"""What may be said of a plugin whose VMs are missing on some workers, or have crashed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pluginrelease.core.gateway.identity import Incarnation
from pluginrelease.core.gateway.logs import Crash, LogFindings, LogKind, Missing
from pluginrelease.core.gateway.observations import Baseline, PodObservation
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.gateway.verdict.refusal import RefusalText
from pluginrelease.core.gateway.verdict.values import State
from tests.core.gateway_signs import (
    BEFORE,
    COUNTED,
    CROWD,
    FRESH,
    GIVEN,
    POD,
    PROVED,
    QUIET,
    REFUSED_ONCE,
    RUN,
    WANTED,
    after,
    entry,
    event,
    judged,
)

# ------------------------------------------------------------------------------------------------------------ workers

LEFT_OUT = Missing(after(1.5), "16", "Wasm VM failed Failed to configure thread-local Wasm plugin")
GONE = replace(COUNTED.stats, vm_active=1)
BY_WORKERS = event(LogKind.REFUSED_BY_WORKERS, None, LEFT_OUT.line)


def left_out(*found: Missing, truncated: bool = False) -> LogFindings:
    """Envoy's word that it created the plugin, and lines of threads on which it failed."""
    return replace(event(LogKind.LOADED), missing=found or (LEFT_OUT,), truncated=truncated)


# ---------------------------------------------------------------------------------------------------- a worker hangs

HUNG = replace(QUIET, stats=replace(QUIET.stats, worker_hangs=1), log=event(LogKind.LOADED, after(2), everywhere=False))
HANGS: list[tuple[str, PodObservation, State, str]] = [
    ("Envoy created it, and one worker has not taken it", HUNG, State.UNHEALTHY, "GatewayUnresponsive"),
    (
        "every worker has taken it, so that a hang was over",
        replace(HUNG, log=event(LogKind.LOADED, after(2))),
        State.LOADED,
        "Loaded",
    ),
    (
        "no worker has hung: something else is missing",
        replace(HUNG, stats=replace(HUNG.stats, worker_hangs=0)),
        State.UNKNOWN,
        "NoPositiveSign",
    ),
    (
        "the line may have been lost",
        replace(HUNG, log=replace(HUNG.log, truncated=True)),
        State.UNKNOWN,
        "LogIncomplete",
    ),
    (
        "the line is about what came before",
        replace(HUNG, log=event(LogKind.LOADED, after(-60), everywhere=False)),
        State.UNKNOWN,
        "NoPositiveSign",
    ),
    (
        "config_reload rises only when every worker has taken it",
        replace(COUNTED, stats=replace(COUNTED.stats, worker_hangs=1), log=HUNG.log),
        State.LOADED,
        "Loaded",
    ),
]


@pytest.mark.parametrize(("why", "sighting", "state", "reason"), HANGS, ids=[row[0] for row in HANGS])
def test_a_worker_that_hangs(why: str, sighting: PodObservation, state: State, reason: str) -> None:
    """A revision that does not come to every worker is not Loaded, and a hang is told after the time to load."""
    found = judged(sighting, late=True)
    assert (found.state, found.reason) == (state, reason), why
    early = judged(sighting)
    assert early.state in (State.PENDING, State.LOADED), why


def test_what_a_gateway_ran_before_proves_nothing_where_a_worker_hangs() -> None:
    """If Envoy has created it again since it was written back, the earlier proof is of an earlier load."""
    assert judged(HUNG, late=True, verified=[RUN], baselines=[]).reason == "GatewayUnresponsive"
    assert judged(HUNG, verified=[RUN], baselines=[]).state is State.PENDING
    assert judged(QUIET, late=True, verified=[RUN], baselines=[]).reason == "Loaded", "nothing was loaded since"


OUT = replace(HUNG, pod=replace(POD, ready=False))
BLIND = replace(OUT, log=event(LogKind.LOADED, after(2)))
WELL = replace(BEFORE, restarts=0)
UNREADY: list[tuple[str, PodObservation, Baseline, State, str]] = [
    ("workers hang, and the pod serves nothing", BLIND, WELL, State.UNHEALTHY, "GatewayUnresponsive"),
    (
        "no worker was missed: it is not ready for another reason",
        replace(BLIND, stats=replace(BLIND.stats, worker_hangs=0)),
        WELL,
        State.UNKNOWN,
        "PodNotReady",
    ),
    (
        "workers were missed before the write, as on a busy node",
        BLIND,
        replace(WELL, worker_hangs=1),
        State.UNKNOWN,
        "PodNotReady",
    ),
    ("it was ill before the write", BLIND, BEFORE, State.UNKNOWN, "PodNotReady"),
    (
        "it does not answer, as on a node that is gone",
        replace(BLIND, unreachable="no answer"),
        WELL,
        State.UNKNOWN,
        "PodNotReady",
    ),
    (
        "what hangs since before takes nothing that is put back",
        OUT,
        replace(WELL, worker_hangs=1),
        State.UNKNOWN,
        "GatewayUnresponsive",
    ),
]


@pytest.mark.parametrize(("why", "sighting", "before", "state", "reason"), UNREADY, ids=[row[0] for row in UNREADY])
def test_a_gateway_that_is_not_ready_because_its_workers_hang(
    why: str, sighting: PodObservation, before: Baseline, state: State, reason: str
) -> None:
    """It was well and serves nothing since: that is the revision's doing, as a crash is, once its time is over."""
    found = judged(sighting, late=True, baselines=[before])
    assert (found.state, found.reason) == (state, reason), why
    assert judged(sighting, baselines=[before]).reason == "PodNotReady", "a readiness that flickers is none"
    settled = {"settled": True, "watched": True, "verified": [RUN]}
    assert judged(sighting, late=True, baselines=[before], **settled).reason == reason, "and soon after Ready"


def test_a_worker_that_hung_before_the_write_is_not_its_doing() -> None:
    """The gateway takes nothing all the same, and says so."""
    found = judged(HUNG, late=True, baselines=[replace(BEFORE, worker_hangs=1)])
    assert (found.state, found.reason) == (State.UNKNOWN, "GatewayUnresponsive")


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
    assert "4 VMs" in late.message
    assert "1 run" in late.message


def test_what_was_proved_is_lost_with_its_vms() -> None:
    """A gateway that ran this revision before does not when its workers have no VM, and does for all a neighbour's."""
    assert judged(replace(COUNTED, stats=GONE, log=left_out()), **PROVED).reason == "PluginRefusedByWorkers"
    neighbours = replace(CROWD, stats=replace(CROWD.stats, vm_active=5), log=left_out())
    assert judged(neighbours, **PROVED).state is State.LOADED


def test_a_refusal_says_what_serves() -> None:
    """In a running Envoy the old code goes on; one that started with the bad code answers 500."""
    running = judged(replace(COUNTED, log=REFUSED_ONCE))
    assert RefusalText.OLD_CODE_RUNS in running.message
    assert REFUSED_ONCE.events[0].causes[0] in running.message
    fresh = judged(replace(FRESH, log=event(LogKind.REJECTED, after(12))))
    assert RefusalText.NO_CODE_RUNS in fresh.message


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


@pytest.mark.parametrize(("why", "sighting", "state", "reason"), CRASHES, ids=[row[0] for row in CRASHES])
def test_a_plugin_that_crashed_is_not_loaded(why: str, sighting: PodObservation, state: State, reason: str) -> None:
    """What was proved before does not excuse a crash since; a neighbour's crash, or an older one, is none of ours."""
    found = judged(sighting, **PROVED)
    assert (found.state, found.reason) == (state, reason), why


def test_a_crash_says_how_much_fails() -> None:
    """One dead worker of two is told as that, with the gateway's own line."""
    one = judged(replace(QUIET, log=crashes(TRAPPED)), **PROVED)
    assert "1 of 2 workers" in one.message
    assert "503" in one.message
    assert TRAPPED.line in one.message
    both = judged(replace(QUIET, log=crashes(TRAPPED, replace(TRAPPED, thread="16"))), **PROVED)
    assert "2 of 2 workers" in both.message
    unprotected = judged(replace(QUIET, entries=entry(fail="FAIL_OPEN"), log=crashes(TRAPPED)), **PROVED)
    assert "503" not in unprotected.message, "with FAIL_OPEN requests pass"


@pytest.mark.parametrize(("fail", "kept"), [("FAIL_RELOAD", {RUN}), ("FAIL_CLOSED", set()), ("FAIL_OPEN", set())])
def test_a_plugin_that_starts_again_needs_no_new_proof(fail: str, kept: set[Incarnation]) -> None:
    """With FAIL_RELOAD a pod comes back by itself; otherwise its proof is gone until it is mended."""
    sighting = replace(QUIET, entries=entry(fail=fail), log=crashes(TRAPPED))
    assert judging.judge(WANTED, [sighting], **{**GIVEN, "verified": [RUN]}).verified == kept
    assert judging.judge(WANTED, [sighting], **{**GIVEN, "verified": []}).verified == set()
