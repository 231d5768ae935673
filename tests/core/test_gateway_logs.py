"""What a gateway's log says: whose line it is, what it means, and what caused it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluginrelease.core.gateway import logs
from pluginrelease.core.gateway.logs import LogKind
from tests.core.log_lines import MISSING, NOT_ON_THREAD, REFUSAL, REFUSED, created, line, read
from tests.core.recorded_gateway import BEGINNING, NAME, NEIGHBOUR, wanted

AGENT = (
    "2026-11-20T20:54:10.000001Z\terror\twasm\terror in converting the wasm config to local: cannot fetch Wasm module "
    "{url}: could not fetch Wasm OCI image: the given image is in invalid format as an OCI image: 2 errors occurred:\n"
    "\t* could not parse as compat variant: invalid media type\n"
    "\t* could not parse as oci variant: number of layers must be 2 but got 1\n\n. applying deny RBAC filter"
)


def test_causes_are_those_of_the_same_thread() -> None:
    """Causes carry no name: those of another thread are not ours, also when they stand in between."""
    found = read(
        line(1, MISSING),
        line(2, "Wasm VM failed Failed to configure base Wasm plugin", thread=99),
        line(3, f"{REFUSED}Unable to create Wasm plugin apps.header~istio-translated-wasmplugin", scope="envoy config"),
    )
    assert [event.causes for event in found.events] == [(MISSING,)]


def test_causes_of_an_attempt_that_ended_otherwise_are_dropped() -> None:
    """A new attempt on the thread begins without the causes of the one before."""
    found = read(
        line(1, "wasm log: a warning of the one before"),
        line(2, f"Updated filter config {NAME} accepted, posting to workers", scope="envoy filter"),
        line(3, MISSING),
        line(4, f"{REFUSED}Unable to create Wasm plugin apps.header"),
    )
    assert [event.causes for event in found.events] == [(MISSING,)]


def test_a_neighbours_line_takes_the_causes_before_it() -> None:
    """What stands before a neighbour's name is the neighbour's, though ours is refused next."""
    found = read(
        line(1, MISSING),
        line(2, f"{REFUSED}Unable to create Wasm plugin apps.neighbour"),
        line(3, f"{REFUSED}Unable to create Wasm plugin apps.header"),
    )
    assert [event.causes for event in found.events] == [()]


def test_a_refusal_told_by_several_lines_is_one_event() -> None:
    """Envoy names a refused plugin up to four times: the causes and the last time are kept in one event."""
    found = read(
        line(1, MISSING),
        line(1, "Plugin apps.header~istio-translated-wasmplugin failed to load", level="critical"),
        line(2, f"{REFUSED}Unable to create Wasm plugin apps.header~istio-translated-wasmplugin"),
        line(3, f"Updating filter config {NAME} failed due to 2", level="debug", scope="envoy filter"),
    )
    (event,) = found.events
    assert (event.kind, event.causes) == (LogKind.REJECTED, (MISSING,))
    assert event.at is not None
    assert event.at.second == 2, "the last line that names who was refused"


def test_a_refusal_that_every_subscription_hears_of_is_one_plugins() -> None:
    """Envoy tells every subscription of one plugin's refusal: no neighbour is refused, and the causes are kept."""
    lines = (
        line(1, MISSING),
        line(1, "Plugin apps.header~istio-translated-wasmplugin failed to load", level="critical"),
        line(2, f"{REFUSED}Unable to create Wasm plugin apps.header~istio-translated-wasmplugin"),
        line(3, f"Updating filter config {NEIGHBOUR} failed due to 2", level="debug", scope="envoy filter"),
        line(4, f"{REFUSED}Unable to create Wasm plugin apps.header~istio-translated-wasmplugin"),
        line(5, f"Updating filter config {NAME} failed due to 2", level="debug", scope="envoy filter"),
    )
    (event,) = read(*lines).events
    assert (event.kind, event.causes) == (LogKind.REJECTED, (MISSING,))
    assert logs.read_log(lines, replace(wanted(), name="neighbour"), BEGINNING).events == ()


def test_worker_update_complete_is_no_sign() -> None:
    """Envoy prints it for refused configurations too."""
    assert not read(line(1, f"Filter config {NAME} worker update complete", scope="envoy filter")).events


def test_created_is_no_success_where_the_same_thread_has_just_failed() -> None:
    """Envoy logs that it created a plugin that none of its threads could configure."""
    found = read(*created(1, NAME))
    assert [(event.kind, event.causes) for event in found.events] == [(LogKind.REFUSED_BY_WORKERS, (NOT_ON_THREAD,))]
    assert {missing.thread for missing in found.missing} == {"15", "16"}
    healed = read(
        *created(1, NAME), *(log_line for log_line in created(3, NAME) if NOT_ON_THREAD not in log_line)
    ).events
    assert [(event.kind, event.everywhere) for event in healed][1:] == [(LogKind.LOADED, True)]


def test_workers_that_refused_a_neighbour_lack_nothing_of_ours() -> None:
    """Their lines name nobody; those of the moment in which Envoy names a neighbour are the neighbour's."""
    found = read(*created(1, NEIGHBOUR))
    assert (found.events, found.missing) == ((), ())
    both = read(*created(1, NEIGHBOUR), line(5, NOT_ON_THREAD, thread=16))
    assert [missing.at and missing.at.second for missing in both.missing] == [5]


def test_only_with_all_workers_envoys_word_is_whole() -> None:
    """A worker that hangs takes nothing, and Envoy logs that it created the plugin all the same."""
    [waits] = read(line(1, f"Updated filter config {NAME} created, warming done")).events
    assert not waits.everywhere
    theirs = line(2, f"Filter config {NEIGHBOUR} worker update complete")
    assert not read(line(1, f"Updated filter config {NAME} created, warming done"), theirs).events[0].everywhere


def test_what_the_plugin_said_is_a_cause_and_what_another_said_is_not() -> None:
    """Before its root context a plugin's line has no name and counts by its thread; a named neighbour's does not."""
    found = read(
        line(1, "wasm log: size must be positive"),
        line(1, "wasm log apps.neighbour my_root my_vm: tick"),
        line(1, "wasm log: "),
        line(2, "Wasm VM failed Failed to configure base Wasm plugin"),
        line(3, "Plugin apps.header failed to load"),
    )
    assert found.events[0].causes == (
        "wasm log: size must be positive",
        "Wasm VM failed Failed to configure base Wasm plugin",
    )


def test_a_trap_with_its_backtrace_is_one_line() -> None:
    """A message over several lines is joined, bounded, and belongs to its thread."""
    trap = (
        "Function: proxy_on_configure failed: Uncaught RuntimeError: unreachable\nin-VM backtrace:\n  0:  0x1 - abort"
    )
    found = read(line(1, trap), line(2, f"{REFUSED}Unable to create Wasm plugin apps.header"))
    assert found.events[0].causes == (" ".join(trap.split()),)
    long = read(line(1, f"{REFUSED}Unable to create Wasm plugin apps.header {'x' * 5000}"))
    assert len(long.events[0].line) <= 600


ACCESS = '[2026-11-20T20:54:01.000Z] "GET / HTTP/1.1" 200 - "-" "{agent}" "10.0.0.1:80"'


@pytest.mark.parametrize(
    "foreign",
    [
        ACCESS.format(agent="curl"),
        "  starting without a format of its own",
        "<a library's warning>",
        ACCESS.format(agent="x") + "\tthread=15",
    ],
)
def test_what_is_no_part_of_a_message_is_not_quoted(foreign: str) -> None:
    """A line of no known format that follows a message (an access log, a print) is not told as the gateway's words."""
    agents = AGENT.format(url="apps.header")
    for message, last in ((line(1, REFUSAL), "apps.header"), (agents, "deny RBAC filter")):
        (event,) = read(message, foreign, foreign, line(9, "something else")).events
        assert event.line.endswith(last)


@pytest.mark.parametrize(
    "access",
    [ACCESS.format(agent="curl"), '{"agent":"\\"level\\": {}","start_time":"2026-11-20T20:54:01Z"}'],
    ids=["text", "JSON"],
)
def test_an_access_log_between_two_lines_of_a_message_is_passed_over(access: str) -> None:
    """Envoy writes the two to different streams, which the container's log mixes by the line."""
    first, second = line(1, "Function: proxy_on_configure failed: x\nin-VM backtrace:").splitlines()
    found = read(first, access, second, line(2, REFUSAL))
    assert found.events[0].causes == ("Function: proxy_on_configure failed: x in-VM backtrace:",)


def test_a_client_cannot_speak_for_the_gateway() -> None:
    """A request can put any text into an access log, and a line without a known format says nothing."""
    forged = f"{REFUSAL}\tthread=15"
    assert read(ACCESS.format(agent=forged), forged, line(1, "something else"), forged).events == ()


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (f"{REFUSED}Unable to create Wasm HTTP filter apps.header", LogKind.REJECTED),
        (f"delta config for x rejected: Unable to create Wasm plugin {NAME[37:]}, other", LogKind.REJECTED),
        (
            "lds: listener '0.0.0.0_80' config rejected: Unable to create Wasm plugin apps.header",
            LogKind.LISTENER_REJECTED,
        ),
        (
            "gRPC config for type.googleapis.com/envoy.config.listener.v3.Listener rejected: Error adding/updating "
            "listener(s) 0.0.0.0_80: Unable to create Wasm plugin apps.header\n",
            LogKind.LISTENER_REJECTED,
        ),
    ],
)
def test_refusals_by_older_and_newer_envoys(message: str, kind: LogKind) -> None:
    """The sentence changed with Envoy's versions and with the way that configuration comes."""
    assert [event.kind for event in read(line(1, message)).events] == [kind]


@pytest.mark.parametrize(
    ("url", "ours", "why"),
    [
        (f"oci://registry/plugin@sha256:{'a' * 64}", True, "it names our digest"),
        (f"oci://registry/plugin@sha256:{'b' * 64}", False, "another digest"),
        ("apps.header~istio-translated-wasmplugin", True, "a missing secret is told by the plugin's name"),
        ("apps.neighbour", False, "the neighbour's secret"),
    ],
)
def test_the_agents_failed_fetch(url: str, ours: bool, why: str) -> None:
    """The agent's error runs over several lines and names the image: it is ours when that is our digest."""
    found = read(AGENT.format(url=url))
    assert [event.kind for event in found.events] == ([LogKind.FETCH_FAILED] if ours else []), why
    assert not ours or "number of layers must be 2" in found.events[0].line


@pytest.mark.parametrize(
    ("registry", "url", "told", "why"),
    [
        ("registry", "https://registry/v2/", True, "the registry of the image"),
        ("registry", "https://other.example.com/v2/", False, "the failure of somebody else's"),
        ("[fd00::1]:5000", "https://[fd00::1]:5000/v2/", True, "a registry by an IPv6 address"),
        ("[fd00::1]:5000", "https://[fd00::2]:5000/v2/", False, "another IPv6 address"),
    ],
)
def test_higresss_agent_tells_the_cause_before(registry: str, url: str, told: bool, why: str) -> None:
    """It tries plain http after any failure of https, and its error tells only how that ended: the cause is the line
    before. (Documented by its source, pkg/wasm/imagefetcher.go of its Istio; not proven here.)"""
    stamp = "2026-11-20T20:54:01.540001Z"
    cause = f"HTTPS request failed for URL {url}: x509: certificate signed by unknown authority"
    fetch = f"cannot fetch Wasm module oci://{registry}/plugin@sha256:{'a' * 64}"
    found = read(
        f"{stamp}\tinfo\twasm\t{cause}",
        f"{stamp}\tinfo\twasm\tFalling back to HTTP for URL: {url}",
        f"{stamp}\terror\twasm\tconvert the wasm config: {fetch}: HTTP fallback also failed: connection refused",
    )
    [event] = found.events
    assert event.kind is LogKind.FETCH_FAILED
    assert event.causes == ((cause,) if told else ()), why


def test_json_logs_say_the_same() -> None:
    """With JSON logging each line is an object; thread and time are fields of it."""
    fields = {"time": "2026-11-20T20:54:01.540001Z", "scope": "envoy wasm", "thread": "15"}
    lines = [
        json.dumps({**fields, "level": "error", "msg": MISSING}),
        json.dumps({**fields, "level": "warn", "msg": f"{REFUSED}Unable to create Wasm plugin apps.header"}),
        "{not json",
    ]
    (event,) = read(*lines).events
    assert (event.kind, event.causes) == (LogKind.REJECTED, (MISSING,))


def test_envoys_own_format_says_the_same() -> None:
    """Without Istio's log format Envoy writes brackets."""
    start = "[2026-11-20 20:54:01.540][15]"
    found = read(
        f"{start}[error][wasm] [source/extensions/common/wasm/wasm.cc:104] {MISSING}",
        f"{start}[warning][config] [source/x.cc:1] {REFUSED}Unable to create Wasm plugin apps.header",
    )
    assert found.events[0].causes == (MISSING,)


def test_lines_before_the_write_do_not_count() -> None:
    """Reading starts at a time; the lines before it are of an earlier revision."""
    since = datetime(2026, 11, 20, 20, 54, 2, tzinfo=UTC)
    refusal = f"{REFUSED}Unable to create Wasm plugin apps.header"
    assert not read(line(1, refusal), since=since).events
    assert read(line(3, refusal), since=since - timedelta(seconds=1)).events


@given(st.lists(st.text(max_size=60), max_size=8))
def test_any_lines(lines: list[str]) -> None:
    """A log holds anything, access logs with strangers' text among it; reading it raises nothing."""
    assert not read(*lines).events


@pytest.mark.parametrize("line", ['{"a":' + "[" * 3000, '{"":' * 2000], ids=["lists", "objects"])
def test_a_line_that_nests_without_end_is_nobodys_word(line: str) -> None:
    """A plugin that logs what a client sent can put any line into the stream: it ends no look, and no way back."""
    assert not read(line).events
    assert logs.find_last_time(line) is None
    assert not logs.reaches_back(line, BEGINNING)


@pytest.mark.parametrize("words", ["wasm log ", "wasm log a ", "cannot fetch Wasm module ", "Updated filter config "])
@pytest.mark.parametrize("filling", ["a", " ", ": ", "\tthread=1", "a ", '"'])
def test_no_line_costs_more_than_its_length(words: str, filling: str) -> None:
    """What a client sends may stand in the log a thousand times, and nothing else goes on while it is read."""
    lines = [line(1, f"{words}{filling * (8000 // len(filling))}")] * 50
    began = time.process_time()
    read(*lines)
    assert time.process_time() - began < 1.5
