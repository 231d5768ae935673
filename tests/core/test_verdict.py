"""What may be said of a gateway: the table of signs, one row per rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pluginrelease.core import placeholders
from pluginrelease.core.gateway.container import Container
from pluginrelease.core.gateway.identity import Incarnation
from pluginrelease.core.gateway.listeners import ListenerError
from pluginrelease.core.gateway.logs import LogEvent, LogFindings, LogKind
from pluginrelease.core.gateway.observations import FilterKind, PodObservation, Stats
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.gateway.verdict.values import State
from tests.core.gateway_signs import (
    BEFORE,
    COUNTED,
    ENTRY,
    FRESH,
    GIVEN,
    NEW,
    OLD,
    POD,
    PROVED,
    QUIET,
    REFUSED_ONCE,
    RUN,
    STARTED,
    WANTED,
    after,
    entry,
    event,
    judged,
)

# the kubelet started it again, of a crash, in the second before what ran was written back
RESTARTED = replace(QUIET, at=after(10), started_at=after(-0.5))
UNSEEN: dict[str, Any] = {"baselines": []}

POSITIVE: Mapping[str, tuple[PodObservation, dict[str, Any]]] = {
    "the counter of reloads rose and no refusal was counted": (COUNTED, {}),
    "Envoy logged that it created our plugin": (replace(QUIET, log=event(LogKind.LOADED)), {}),
    "an Envoy that started later made our statistics": (FRESH, {}),
    "our statistics are new since the write": (QUIET, {"baselines": [replace(BEFORE, named=False)]}),
    "an older Envoy that started later runs as many VMs as needed": (
        replace(FRESH, envoy_version="1.32.4", stats=Stats(vm_active=4)),
        {},
    ),
    "an Envoy that started just before the write has loaded nothing else": (RESTARTED, UNSEEN),
    "an Envoy that started just before the write has loaded what crashed it, and then what is put back": (
        replace(RESTARTED, stats=replace(QUIET.stats, vm_created=10)),
        UNSEEN,
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
        {"baselines": [replace(BEFORE, incarnation=Incarnation.of("uid-1", STARTED - timedelta(1)))]},
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
    "it started just before, and has loaded something before": (
        replace(RESTARTED, stats=replace(QUIET.stats, vm_created=6)),
        UNSEEN,
    ),
    "it started just before, has loaded another code, and one VM was made for what may be refused": (
        replace(RESTARTED, stats=replace(QUIET.stats, vm_created=11)),
        UNSEEN,
    ),
    "it started just before, and VMs were reloaded": (
        replace(RESTARTED, stats=replace(QUIET.stats, vm_created=10, vm_reloads=1)),
        UNSEEN,
    ),
    "it started just before, and the VMs are those of two plugins": (
        replace(RESTARTED, code_files=2, stats=replace(QUIET.stats, vm_created=15, vm_active=8)),
        UNSEEN,
    ),
    "it started just before, has loaded two codes, and a worker has no VM": (
        replace(RESTARTED, stats=replace(QUIET.stats, vm_created=10, vm_active=3), entries=entry(fail="FAIL_RELOAD")),
        UNSEEN,
    ),
    "it started just before, and had the configuration before the write": (
        replace(RESTARTED, entries=entry(last_updated=after(-3))),
        UNSEEN,
    ),
    "it started just before, and a worker has no VM": (
        replace(RESTARTED, stats=replace(QUIET.stats, vm_active=3), entries=entry(fail="FAIL_RELOAD")),
        UNSEEN,
    ),
    "nobody looked at it before, and it has run for long": (replace(RESTARTED, started_at=after(-60)), UNSEEN),
    "it started just before, and was looked at": (
        RESTARTED,
        {"baselines": [replace(BEFORE, incarnation=Incarnation.of("uid-1", after(-0.5)), named=True)]},
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
        {"verified": [Incarnation.of("uid-1", STARTED - timedelta(1)), Incarnation.of("uid-2", STARTED)]},
    ),
}


@pytest.mark.parametrize("why", NOT_POSITIVE)
def test_what_is_no_sign(why: str) -> None:
    """Without a positive sign a pod is Pending, and Unknown when the time is up: never Loaded, never blamed."""
    sighting, given = NOT_POSITIVE[why]
    assert judged(sighting, **given).reason == "AwaitingPositiveSign", why
    late = judged(sighting, **given, late=True)
    assert (late.state, late.reason) == (State.UNKNOWN, "NoPositiveSign"), why


STAND_IN = {"kind": FilterKind.RBAC_DENY, "digest_hex": None, "config": None, "path": ""}
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


@pytest.mark.parametrize(("seconds", "state"), [(5.9, State.PENDING), (6, State.LOADED)])
def test_what_an_envoy_has_just_received_may_be_untried(seconds: float, state: State) -> None:
    """The documents of one look are not of one moment: VMs of before beside what has just arrived prove nothing."""
    assert judged(replace(RESTARTED, at=after(seconds)), **UNSEEN).state is state


@pytest.mark.parametrize(
    ("waiting", "back_off", "seconds", "state"),
    [
        pytest.param("CrashLoopBackOff", 300, 359, State.PENDING, id="the kubelet has not started it again yet"),
        pytest.param("CrashLoopBackOff", 300, 361, State.UNKNOWN, id="it should have by now"),
        pytest.param("CrashLoopBackOff", 0, 61, State.UNKNOWN, id="a revision that is not put back has its time only"),
        pytest.param("ContainerCreating", 300, 61, State.UNKNOWN, id="it waits for something else"),
        pytest.param("", 300, 61, State.UNKNOWN, id="it runs, and is not ready"),
    ],
)
def test_a_gateway_in_back_off_is_waited_for(waiting: str, back_off: int, seconds: int, state: State) -> None:
    """What is put back is not told to be back while the kubelet makes the gateway wait, and not waited for for ever."""
    pod = replace(POD, ready=False, container=Container(restarts=4, running=False, waiting=waiting))
    found = judged(replace(COUNTED, pod=pod, at=after(seconds)), back_off=timedelta(seconds=back_off))
    assert (found.state, found.reason) == (state, "PodNotReady")


def test_another_environment_has_not_arrived() -> None:
    """The wanted code and configuration in another environment is what was there before."""
    assert judged(replace(COUNTED, entries=entry(env={"LEVEL": "info"}))).reason == "AwaitingConfig"


def test_a_gateways_clock_is_taken_into_account() -> None:
    """A gateway whose clock is an hour behind started after the write, though its own time says before."""
    behind = timedelta(hours=-1)
    early = replace(FRESH, started_at=after(10) + behind, entries=entry(last_updated=after(11) + behind))
    assert judged(early).state is State.PENDING
    assert judged(replace(early, skew=behind)).state is State.LOADED


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
