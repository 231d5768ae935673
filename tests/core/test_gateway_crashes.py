"""What a gateway says of a plugin that crashed: by its log, by its counts, and by Higress's gauges."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from pluginrelease.core.gateway.observations import FilterKind
from tests.core.log_lines import OUR_NAME, REFUSED, TRAP, line, read, spoken
from tests.core.recorded_gateway import changed, documents, seen


def test_a_trap_on_a_request_is_a_crash_of_nobody_known() -> None:
    """Envoy's only line on it names no plugin; each thread has a VM of its own, and the newest line of each is kept."""
    found = read(line(1, TRAP, thread=8), line(2, TRAP, thread=9), line(3, TRAP, thread=8))
    assert [(crash.thread, crash.at and crash.at.second, crash.plugin) for crash in found.crashes] == [
        ("9", 2, ""),
        ("8", 3, ""),
    ]
    assert found.events == ()


def test_a_plugins_line_may_have_colons() -> None:
    """The name ends at the first one."""
    said = "config: asked to fail: now"
    found = read(*spoken(1, said), line(1, f"{REFUSED}Unable to create Wasm plugin apps.header"))
    assert found.events[0].causes == (f"wasm log {OUR_NAME}: {said}",)


def test_a_panic_that_was_printed_tells_whose_crash_it_is() -> None:
    """Go prints its panic in pieces before it traps, as lines that carry the plugin's name."""
    panic = spoken(1, "panic: ", "boom: 1", "", "", "goroutine ", "1", " [", "running")
    [crash] = read(*panic, line(1, TRAP)).crashes
    assert (crash.plugin, crash.line) == (OUR_NAME, f"panic: boom: 1 / {TRAP}")


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (spoken(1, "the upstream is slow"), "whoever wrote last has not therefore crashed"),
        (spoken(1, "panic: boom", thread=16), "a panic on another thread"),
        ([*spoken(1, "panic: recovered"), line(1, "something else")], "a panic that something followed"),
        ([*spoken(1, "panic: boom"), *spoken(1, "hello", plugin="apps.other")], "another plugin spoke after it"),
    ],
)
def test_what_was_said_before_a_crash_is_not_always_about_it(before: list[str], why: str) -> None:
    """Only a panic directly before, on the same thread, tells whose crash it is."""
    [crash] = read(*before, line(2, TRAP)).crashes
    assert crash.plugin == "", why


@pytest.mark.parametrize("function", ["proxy_on_vm_start", "proxy_on_configure", "_initialize"])
def test_a_trap_while_a_plugin_is_loaded_is_no_crash(function: str) -> None:
    """Envoy then refuses the plugin, which is another matter: what ran before goes on running."""
    assert not read(line(1, TRAP.replace("proxy_on_request_headers", function))).crashes


def test_a_trap_that_a_refusal_follows_at_once_is_its_cause() -> None:
    """A function that is called at load and later too is told by what comes next."""
    trap = line(1, TRAP.replace("request_headers", "context_create"))
    refusal = f"{REFUSED}Unable to create Wasm plugin apps.header"
    assert not read(trap, line(1, refusal)).crashes
    assert read(trap, line(9, refusal)).crashes


def test_a_crash_before_the_reading_began_is_not_seen() -> None:
    """Lines before the time that is asked for do not count."""
    assert not read(line(1, TRAP), since=datetime(2026, 11, 20, 20, 54, 2, tzinfo=UTC)).crashes


def test_plugins_of_the_same_code_are_known_by_name() -> None:
    """They share their VMs, and so their crashes."""
    assert seen("loaded").code_names == (OUR_NAME,)
    ours, neighbours = (
        entry["ecds_filter"]["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"]
        for entry in json.loads(documents("loaded").ecds)["configs"][0]["ecds_filters"]
    )
    shared = changed("loaded", ecds=documents("loaded").ecds.replace(neighbours, ours))
    assert set(shared.code_names) == {OUR_NAME, OUR_NAME.replace("header", "neighbour")}


def test_a_recorded_crash_shows_in_the_log_alone() -> None:
    """The real Envoy counts as many VMs as before, refuses nothing, and has the one line."""
    sighting = seen("crashed")
    assert (sighting.stats.vm_active, sighting.stats.update_rejected, sighting.entries[0].kind) == (
        8,
        0,
        FilterKind.WASM,
    )
    [crash] = sighting.log.crashes
    assert (crash.plugin, crash.line) == ("", TRAP)


def test_reloads_are_counted_whether_they_succeed_or_fail() -> None:
    """A VM that is made after a crash is no VM made for new code."""
    stats = json.loads(documents("loaded").stats)
    for item in stats["stats"]:
        if item.get("name", "").endswith(
            ("neighbour~istio-translated-wasmplugin.vm_reload_success", ".vm_reload_failure")
        ):
            item["value"] = 2
    assert changed("loaded", stats=json.dumps(stats)).stats.vm_reloads == 6


def test_higress_counts_crashes_by_name() -> None:
    """Its gauge tells how many VMs of a plugin are down; a neighbour's is not ours. (Its source; not measured.)"""
    prefix = "wasm.envoy.wasm.runtime.v8.plugin"
    stats = [{"name": f"{prefix}.apps.header.crash", "value": 1}, {"name": f"{prefix}.apps.other.crash", "value": 2}]
    found = changed("loaded", stats=json.dumps({"stats": stats})).stats
    assert (found.crashed, found.crashes, found.unstarted) == (1, None, None)
    more = [*stats, {"name": f"{prefix}.apps.header.crash_total", "value": 7}]
    more.append({"name": f"{prefix}.apps.header.worker_uninitialized", "value": 2})
    found = changed("loaded", stats=json.dumps({"stats": more})).stats
    assert (found.crashed, found.crashes, found.unstarted) == (1, 7, 2)
    assert changed("loaded").stats.crashed is None


@pytest.mark.parametrize("counter", ["recover_total", "rebuild_total", "worker_init_recovered_total"])
def test_higress_makes_vms_anew(counter: str) -> None:
    """A VM made for a plugin that was there before proves nothing of a new one: such are counted as restarts. (Its
    source; not measured.)"""
    name = f"wasm.envoy.wasm.runtime.v8.plugin.apps.other.{counter}"
    before = changed("loaded").stats.vm_reloads or 0
    stats = json.loads(documents("loaded").stats)
    stats["stats"].append({"name": name, "value": 3})
    assert changed("loaded", stats=json.dumps(stats)).stats.vm_reloads == before + 3
