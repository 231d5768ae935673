"""How the container that runs Envoy fares, and why it ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluginrelease.core.gateway import container
from pluginrelease.core.gateway.container import Cause, Container, Termination

JSON = dict[str, Any]
STARTED, ENDED, LATER = "2026-11-20T12:00:00Z", "2026-11-20T12:00:05Z", "2026-11-20T12:05:00Z"
AT = datetime(2026, 11, 20, 12, 0, 5, tzinfo=UTC)
COMPLETED: JSON = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": STARTED, "finishedAt": ENDED}}
RUNS: JSON = {"running": {"startedAt": LATER}}
WAITS: JSON = {"waiting": {"reason": "CrashLoopBackOff"}}


def status(restarts: int = 0, state: JSON | None = None, last: JSON | None = None, *others: JSON) -> JSON:
    own = {"name": "istio-proxy", "restartCount": restarts, "state": state or RUNS, "lastState": last or {}}
    return {"containerStatuses": [own, *others]}


def other(finished: str | None) -> JSON:
    ended = {"terminated": {**COMPLETED["terminated"], "finishedAt": finished}} if finished else {}
    return {"name": "app", "restartCount": int(bool(finished)), "state": RUNS, "lastState": ended}


def test_a_container_that_runs_has_ended_as_often_as_it_was_restarted() -> None:
    """What the status says of it: since when it runs, how it ended before, and how often."""
    found = container.read(status(2, RUNS, COMPLETED), "istio-proxy")
    assert (found.running, found.ends, found.waiting) == (True, 2, "")
    assert found.started_at == AT + timedelta(seconds=295)
    assert found.terminated == Termination(AT, "Completed", 0)


@pytest.mark.parametrize(
    ("state", "last", "ends", "is_state", "why"),
    [
        (COMPLETED, {}, 1, True, "it has just ended, and the kubelet has not started it again"),
        (WAITS, COMPLETED, 1, False, "the kubelet waits before it starts it again"),
        ({"waiting": {"reason": "ContainerCreating"}}, {}, 0, None, "it has never run"),
    ],
)
def test_one_that_does_not_run_has_ended_once_more(
    state: JSON, last: JSON, ends: int, is_state: bool | None, why: str
) -> None:
    """A restart is counted when it happens, and the end before it has happened already."""
    found = container.read(status(0, state, last), "istio-proxy")
    assert (found.running, found.ends) == (False, ends), why
    assert (found.terminated.is_state if found.terminated else None) == is_state, why


def test_a_native_sidecar_is_found_and_a_missing_status_is_no_end() -> None:
    """Istio 1.28 and newer may run the gateway as a restartable init container; a new pod has no status."""
    native = {"initContainerStatuses": status(3, RUNS, COMPLETED)["containerStatuses"]}
    assert container.read(native, "istio-proxy").ends == 3
    assert container.read({}, "istio-proxy") == Container()


@pytest.mark.parametrize(
    ("others", "together", "why"),
    [
        ([], False, "it is the only one"),
        ([other(ENDED)], True, "its neighbour ended in the same second: the sandbox was made again"),
        ([other(None)], False, "its neighbour goes on"),
        ([other(LATER)], False, "its neighbour ended at another time"),
        ([other(ENDED), other(None)], False, "one of two goes on"),
    ],
)
def test_a_new_sandbox_ends_all_containers(others: list[JSON], together: bool, why: str) -> None:
    """An end that all containers of the pod share is the node's doing, and no crash."""
    assert container.read(status(1, RUNS, COMPLETED, *others), "istio-proxy").together is together, why


AGENT = "2026-11-20T12:00:05.062854Z\t{level}\t{text}"
ENVOY = "2026-11-20T12:00:05.031313Z\tcritical\tenvoy backtrace ./source/server/backtrace.h:173\t{text}\tthread=175"
ACCESS = '[2026-11-20T12:00:05.000Z] "GET / HTTP/1.1" 200 - "-" "{text}"'
EXITED = "Envoy exited with error: {}"
CAUGHT = "Caught Segmentation fault, suspect faulting address 0x0"


def agent(text: str, level: str = "error") -> str:
    return AGENT.format(level=level, text=text)


WORDS: list[tuple[str, Termination, list[str], Cause]] = [
    ("segfault by the agent", Termination(AT), [agent(EXITED.format("signal: segmentation fault"))], Cause.FATAL),
    ("abort, with a core", Termination(AT), [agent(EXITED.format("signal: aborted (core dumped)"))], Cause.FATAL),
    ("V8: a trap signal", Termination(AT), [agent(EXITED.format("signal: trace/breakpoint trap"))], Cause.FATAL),
    ("Envoy's own word", Termination(AT), [ENVOY.format(text=CAUGHT)], Cause.FATAL),
    ("V8's own word, without a format", Termination(AT), ["#", "# Fatal error in , line 0"], Cause.FATAL),
    ("V8's other word", Termination(AT), ["# unreachable code"], Cause.FATAL),
    ("no agent: the code of SIGSEGV", Termination(AT, "Error", 139), [], Cause.FATAL),
    ("the kernel's word on memory", Termination(AT, "OOMKilled", 137), [], Cause.OUT_OF_MEMORY),
    (
        "the agent's guess on memory, which it makes of every SIGKILL",
        Termination(AT),
        [
            agent("Envoy may have been out of memory killed. Check memory usage and limits.", "warn"),
            agent(EXITED.format("signal: killed")),
        ],
        Cause.UNCLEAR,
    ),
    ("killed by somebody", Termination(AT), [agent(EXITED.format("signal: killed"))], Cause.UNCLEAR),
    ("a bootstrap that Envoy refuses", Termination(AT), [agent(EXITED.format("exit status 1"))], Cause.UNCLEAR),
    ("without a word", Termination(AT, "Error", 137), [], Cause.UNCLEAR),
    ("asked to end", Termination(AT), [agent("Agent has successfully terminated", "info")], Cause.ASKED),
    (
        "asked to end, and Envoy stumbled on the way out",
        Termination(AT),
        [ENVOY.format(text=CAUGHT), agent("Agent has successfully terminated", "info")],
        Cause.ASKED,
    ),
    (
        "what a client can write into an access log",
        Termination(AT),
        [ACCESS.format(text=CAUGHT), ACCESS.format(text=agent(EXITED.format("signal: aborted"))), CAUGHT],
        Cause.UNCLEAR,
    ),
]


@pytest.mark.parametrize(("why", "ended", "log", "cause"), WORDS, ids=[row[0] for row in WORDS])
def test_why_a_container_ended(why: str, ended: Termination, log: list[str], cause: Cause) -> None:
    """The agent ends with 0 whatever killed Envoy, so its last lines say why, and the status where it knows."""
    found = container.read_last_words(ended, "\n".join([agent("Envoy command: [-c x]", "info"), *log]))
    assert found.cause is cause, why


def test_the_words_are_kept_in_their_order_and_are_few() -> None:
    """What is quoted is what says why, without the rest of a crash's dump."""
    lines = [ENVOY.format(text=CAUGHT), "  ConnectionImpl 0x1", agent(EXITED.format("signal: segmentation fault"))]
    found = container.read_last_words(Termination(AT), "\n".join(lines))
    assert found.lines == (CAUGHT, EXITED.format("signal: segmentation fault"))
    assert len(container.read_last_words(Termination(AT), "\n".join(lines * 9)).lines) == container.MAX_WORDS


def test_frames_that_name_wasm_are_quoted() -> None:
    """Where Envoy's build has symbols they show what the plugin had to do with it; the rest says nothing."""
    frames = ["#0: __restore_rt [0x7f]", "#1: proxy_wasm::ContextBase::log() [0x5]", "#2: Envoy::X::run() [0x6]"]
    more = ["#3: Envoy::Extensions::Common::Wasm::Context::onConfigure() [0x7]", "#4: v8::internal::Invoke [0x8]"]
    lines = [ENVOY.format(text=text) for text in (CAUGHT, *frames, *more)]
    found = container.read_last_words(Termination(AT), "\n".join(lines))
    assert found.lines == (CAUGHT, frames[1], more[0])
    forged = container.read_last_words(Termination(AT), "\n".join([lines[0], ACCESS.format(text=frames[1]), frames[1]]))
    assert forged.lines == (CAUGHT,), "an access log and a bare line say nothing in Envoy's name"


@given(st.lists(st.text(max_size=80), max_size=10))
def test_any_text(lines: list[str]) -> None:
    """A log holds anything, and reading it raises nothing."""
    container.read_last_words(Termination(AT), "\n".join(lines))
