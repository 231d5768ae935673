"""The verdict of a trial: what each step showed, and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.container import Cause, LastWords
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.verdict.values import PodVerdict, State
from pluginrelease.core.rollout.probe import ProbeResponse, Unanswered
from pluginrelease.core.trial import host_calls, verdict
from pluginrelease.core.trial import plan as plans
from pluginrelease.core.trial.plan import TrialPlan
from pluginrelease.core.trial.records import EnvoyEnd, StepRecord, TrialExchange, TrialStep
from pluginrelease.core.trial.revisions import TrialRevision

START, LOAD, REQUESTS, BACK, REMOVE = TrialStep
POD = PodRef("trial", "trial", "trial", ready=True)
GET = api.Probe(name="get")
WANTED = DesiredPlugin("apps", "plugin", "0" * 64, {"a": 1}, "FAIL_CLOSE", env={"LEVEL": "info"})
NEW = TrialRevision(WANTED, "apps.plugin", "apps.plugin", size=2_700_000)
ASKS = replace(NEW, place_calls=("proxy_http_call",))
PLAN = TrialPlan(NEW)
BY_ENVOY = ("Failed to load Wasm module due to a missing import: env.x", "Plugin apps.plugin failed to load")
BY_PLUGIN = ("Wasm VM failed Failed to configure base Wasm plugin", "Plugin apps.plugin failed to load")


def row(state: State, reason: Reason, *evidence: str, is_crash: bool = False) -> PodVerdict:
    """What the gateways' signs say."""
    return PodVerdict(POD, state, reason, f"{reason}", evidence, is_crash)


RUNS = row(State.LOADED, Reason.LOADED)
REJECTED = row(State.UNHEALTHY, Reason.PLUGIN_REJECTED, *BY_PLUGIN)
SEGV = EnvoyEnd(0, "SIGSEGV", LastWords(Cause.FATAL, ("Caught Segmentation fault, suspect faulting address 0x0",)))
KILLED = EnvoyEnd(0, "SIGKILL")


def step(which: TrialStep, seen: PodVerdict | None = RUNS, **more: Any) -> StepRecord:
    """A step that took a second."""
    return StepRecord(which, 1.0, seen, **more)


def asked(*answers: Any, **more: Any) -> StepRecord:
    """The step of requests, with one request."""
    return step(REQUESTS, exchanges=(TrialExchange(GET, None, answers),), **more)


GOOD = (step(START), step(LOAD), asked(ProbeResponse(200)), step(BACK, None), step(REMOVE, None))
SILENT = Unanswered("no answer in time")


@pytest.mark.parametrize(
    ("records", "reason", "at", "why"),
    [
        (GOOD, "TrialPassed", None, "every step"),
        (GOOD[:3], "TrialPassed", None, "it serves, and is not removed yet"),
        ((step(START, None, end=SEGV),), "TrialUnavailable", START, "the image is at fault, not the plugin"),
        ((step(START, None, end=EnvoyEnd(1)),), "TrialUnavailable", START, "as for a bootstrap that Envoy refuses"),
        ((step(START, None, error="no port"),), "TrialUnavailable", START, "no admin port"),
        ((step(START, None, silent=60.0),), "TrialUnavailable", START, "no plugin of the user ran yet"),
        ((step(START, REJECTED),), "TrialUnavailable", START, "the control plugin: an Envoy without V8"),
        ((GOOD[0], step(LOAD, None, end=SEGV)), "TrialCrashed", LOAD, "a fault"),
        ((GOOD[0], step(LOAD, None, end=EnvoyEnd(1))), "TrialCrashed", LOAD, "Envoy ends with the plugin"),
        ((GOOD[0], step(LOAD, None, end=replace(KILLED, mebibytes=1025))), "TrialCrashed", LOAD, "beyond the limit"),
        ((GOOD[0], step(LOAD, None, end=KILLED)), "TrialInconclusive", LOAD, "the machine's memory, or a user"),
        ((GOOD[0], step(LOAD, None, end=EnvoyEnd(0, "SIGTERM"))), "TrialInconclusive", LOAD, "a user"),
        ((GOOD[0], step(LOAD, None, end=EnvoyEnd(None))), "TrialInconclusive", LOAD, "only its container knows"),
        ((GOOD[0], step(LOAD, None, end=replace(SEGV, code=None))), "TrialCrashed", LOAD, "its log has a fault"),
        ((GOOD[0], step(LOAD, None, silent=61.0)), "TrialHung", LOAD, "the main thread"),
        (
            (GOOD[0], step(LOAD, row(State.UNHEALTHY, Reason.PLUGIN_REJECTED, *BY_ENVOY))),
            "TrialRefused",
            LOAD,
            "import",
        ),
        ((GOOD[0], step(LOAD, REJECTED)), "TrialRefused", LOAD, "the plugin, and no call depends on the gateway"),
        (
            (GOOD[0], step(LOAD, row(State.UNHEALTHY, Reason.PLUGIN_REFUSED_BY_WORKERS, "thread-local"))),
            "TrialRefused",
            LOAD,
            "accepted, and it runs on no worker",
        ),
        (
            (GOOD[0], step(LOAD, row(State.UNHEALTHY, Reason.PLUGIN_REFUSED_BY_WORKERS))),
            "TrialInconclusive",
            LOAD,
            "VMs are missing, and Envoy does not say why",
        ),
        (
            (GOOD[0], step(LOAD, row(State.UNKNOWN, Reason.NO_POSITIVE_SIGN))),
            "TrialInconclusive",
            LOAD,
            "no sign in time",
        ),
        ((GOOD[0], step(LOAD, traps=("Function: malloc failed",))), "TrialCrashed", LOAD, "it loads, and answers 503"),
        (
            (*GOOD[:2], step(REQUESTS, row(State.UNHEALTHY, Reason.PLUGIN_CRASHED, is_crash=True))),
            "TrialCrashed",
            REQUESTS,
            "a trap at a request",
        ),
        (
            (*GOOD[:2], step(REQUESTS, row(State.UNKNOWN, Reason.VM_CRASHED))),
            "TrialCrashed",
            REQUESTS,
            "there is no other plugin",
        ),
        (
            (
                *GOOD[:2],
                step(REQUESTS, row(State.UNHEALTHY, Reason.RUNNING_UNPROTECTED), traps=("Function: x failed",)),
            ),
            "TrialRefused",
            REQUESTS,
            "the signs come first",
        ),
        ((*GOOD[:2], step(REQUESTS, None, end=SEGV)), "TrialCrashed", REQUESTS, "no memory, and a host call"),
        ((*GOOD[:2], asked(SILENT, hung=1)), "TrialHung", REQUESTS, "a worker, by Envoy's watchdog"),
        ((*GOOD[:2], asked(SILENT)), "TrialInconclusive", REQUESTS, "it may wait for a service"),
        ((*GOOD[:2], asked(ProbeResponse(503))), "TrialPassed", None, "a plugin may answer so, and nothing trapped"),
        ((*GOOD[:3], step(BACK, None, silent=61.0)), "TrialHung", BACK, "proxy_on_done loops"),
        ((*GOOD[:3], step(BACK, None, end=SEGV)), "TrialCrashed", BACK, "the way back kills"),
        ((*GOOD[:3], step(BACK, REJECTED)), "TrialRefused", BACK, "the way back is closed"),
        ((*GOOD[:4], step(REMOVE, None, silent=61.0)), "TrialHung", REMOVE, "proxy_on_done loops"),
        ((*GOOD[:4], step(REMOVE, None, end=SEGV)), "TrialCrashed", REMOVE, "a fault at the end"),
    ],
)
def test_a_trial_without_a_stable_revision(
    records: tuple[StepRecord, ...], reason: str, at: TrialStep | None, why: str
) -> None:
    """The first step that failed decides, and a failure of the trial itself is none of the plugin."""
    found = verdict.judge(PLAN, records)
    assert (found.reason, found.step) == (reason, at), why


@pytest.mark.parametrize(
    ("revision", "stable", "started", "reason", "why"),
    [
        (ASKS, None, RUNS, "TrialInconclusive", "the gateway has other clusters"),
        (replace(NEW, unknown_values=("env TOKEN",)), None, RUNS, "TrialInconclusive", "the container's variable"),
        (ASKS, NEW, RUNS, "TrialRefused", "the stable one is accepted here, so the place is not to blame"),
        (ASKS, ASKS, REJECTED, "TrialInconclusive", "the control is refused as well"),
        (NEW, NEW, REJECTED, "TrialInconclusive", "the control is refused as well"),
    ],
)
def test_what_the_plugin_refuses(
    revision: TrialRevision, stable: TrialRevision | None, started: PodVerdict, reason: str, why: str
) -> None:
    """A refusal by the plugin counts only where the gateway could not answer it otherwise."""
    found = verdict.judge(TrialPlan(revision, stable), (step(START, started), step(LOAD, REJECTED)))
    assert (found.reason, found.step) == (reason, LOAD), why


@pytest.mark.parametrize(
    ("calls", "reason", "why"),
    [
        (None, "TrialInconclusive", "no call was traced, so the imports count"),
        ((), "TrialRefused", "no such call failed"),
        (("proxy_http_call (BadArgument)",), "TrialInconclusive", "a cluster that a gateway may have"),
    ],
)
def test_calls_before_a_refusal(calls: tuple[str, ...] | None, reason: str, why: str) -> None:
    """A call that failed for want of its gateway explains a refusal; without one it is the plugin's own."""
    load = step(LOAD, REJECTED, failed_calls=calls)
    assert verdict.needs_trace(TrialPlan(ASKS), load)
    assert not verdict.needs_trace(TrialPlan(ASKS, NEW), load)
    assert verdict.judge(TrialPlan(ASKS), (step(START), load)).reason == reason, why


TRACE = """\
2026-11-30T20:35:00.827003Z\ttrace\tenvoy wasm wasm_vm.cc:39\t[host->vm] proxy_on_configure(1, 0)\tthread=16
2026-11-30T20:35:00.827003Z\ttrace\tenvoy wasm wasm_vm.cc:39\t[vm->host] env.proxy_get_property(0, 14, 8, 12)\tthread=16
2026-11-30T20:35:00.827026Z\ttrace\tenvoy wasm wasm_vm.cc:39\t[vm<-host] env.proxy_get_property return: 0\tthread=16
2026-11-30T20:35:00.827026Z\ttrace\tenvoy wasm wasm_vm.cc:39\t[vm<-host] env.proxy_log return: 2\tthread=16
2026-11-30T20:35:00.827026Z\ttrace\tenvoy wasm wasm_vm.cc:39\t[vm<-host] env.proxy_http_call return: 2\tthread=16
2026-11-30T20:35:00.827026Z\terror\tenvoy wasm w.cc:39\twasm log: [vm<-host] env.proxy_redis_init return: 2\tthread=16
"""


def test_failed_calls_are_read_from_the_trace() -> None:
    """Only Envoy's own lines count, only calls that depend on the gateway, and only those that failed."""
    assert host_calls.read_failed(TRACE.splitlines()) == ("proxy_http_call (BadArgument)",)
    assert host_calls.read_failed(TRACE.splitlines()[:3]) == ()
    assert host_calls.read_failed(TRACE.splitlines()[3:]) is None


def test_a_stable_revision_that_kills_proves_nothing() -> None:
    """If already the stable revision ends Envoy here, nothing is known of the new one."""
    found = verdict.judge(TrialPlan(NEW, NEW), (step(START, None, end=SEGV),))
    assert (found.reason, found.lines) == ("TrialInconclusive", SEGV.words.lines)


@pytest.mark.parametrize(
    ("size", "seconds", "why"),
    [(0, 60.0, "the least"), (2_700_000, 60.0, "a Go module"), (40_000_000, 600.0, "15 s for each MB")],
)
def test_a_larger_module_may_be_silent_for_longer(size: int, seconds: float, why: str) -> None:
    """An Envoy that compiles does not answer either."""
    assert plans.find_hang_seconds(size) == seconds, why


def test_the_plan_is_read_as_it_was_written() -> None:
    """The driver in a pod gets the same plan as the one that wrote it; another version's is refused."""
    plan = TrialPlan(
        replace(ASKS, unknown_values=("config",)),
        NEW,
        requests=(
            GET,
            api.Probe(name="post", method=api.ProbeMethod.POST, path="/x?y=1", headers={"a": "b"}, body="c"),
        ),
        mebibytes=0,
        echo_port=10000,
    )
    assert TrialPlan.from_json(plan.as_json()) == plan
    for text in ('{"version": 2}', "{}", "[]", "no JSON"):
        with pytest.raises(ValueError, match=r"."):
            TrialPlan.from_json(text)


def test_every_reason_has_an_exit_code() -> None:
    """0 passed, 1 refused, 2 not known, for each reason of a trial."""
    codes = {
        str(reason): verdict.TrialVerdict(reason, "").answer for reason in Reason if str(reason).startswith("Trial")
    }
    assert codes == {
        "TrialPassed": 0,
        "TrialCrashed": 1,
        "TrialHung": 1,
        "TrialRefused": 1,
        "TrialInconclusive": 2,
        "TrialUnavailable": 2,
    }
