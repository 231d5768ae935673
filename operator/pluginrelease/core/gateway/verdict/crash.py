"""Find out if the plugin has crashed, and if the gateway starts it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.logs import Crash, LogKind
from pluginrelease.core.gateway.verdict import cases
from pluginrelease.core.gateway.verdict.cases import CRASH_QUIET, VMS_BESIDE_WORKERS, PodCase
from pluginrelease.core.gateway.verdict.values import PodVerdict, State

STAYS_DOWN = "The gateway does not restart it: replace the pod, or change the release."


# Higress's own Envoy, source/extensions/filters/http/wasm/wasm_filter.h
HIGRESS_AGAIN = "The gateway restarts it with the next requests. It counts as loaded after a minute without a crash."


def check_crashes(case: PodCase) -> PodVerdict | None:
    """Return a verdict if the plugin has trapped since Envoy began to run it.

    A VM that trapped stays dead. Only a log line shows that; neither the number of VMs nor any other statistic does.
    """
    if case.sighting.stats.crashed is not None:
        counted = _check_counters(case)
        return replace(counted, is_crash=True) if counted is not None else None
    crashes = [crash for crash in case.sighting.log.crashes if _concerns_current(case, crash)]
    ours = [crash for crash in crashes if _is_ours(case, crash)]
    untold = [crash for crash in crashes if not crash.plugin]
    if ours:
        row = _report_crash(case, len({crash.thread for crash in ours}), [crash.line for crash in ours])
        return replace(row, is_crash=True)
    if untold:
        message = (
            f"A plugin of this gateway crashed, and Envoy does not report which one. It says: {untold[-1].line}. "
            "Replace the pod to restart all of them. Add a probe to find out whether this one runs."
        )
        return case.row(State.UNKNOWN, Reason.VM_CRASHED, message, *(crash.line for crash in untold))
    return None


def _check_counters(case: PodCase) -> PodVerdict | None:
    """Return a verdict from Higress's counters, which have the plugin's name.

    Higress starts the plugin again with a later request. The counters say how many VMs are down now, in how many
    workers the plugin never started, and how often it went down since the write. The log says when it last did.
    """
    stats = case.sighting.stats
    if stats.unstarted:
        return _report_unstarted(case, stats.unstarted)
    if stats.crashed:
        return _report_crash(case, stats.crashed, (), again=HIGRESS_AGAIN)
    before = case.baseline.crashes or 0 if case.baseline else 0
    lately = [crash for crash in case.sighting.log.crashes if _is_recent(case, crash)]
    if (stats.crashes or 0) <= before or not lately:
        return None
    times = (stats.crashes or 0) - before
    message = f"The plugin crashed {times} times since the write, and requests got 503 meanwhile. {HIGRESS_AGAIN}"
    return case.row(State.UNHEALTHY, Reason.PLUGIN_CRASHED, message, *(crash.line for crash in lately))


def _report_unstarted(case: PodCase, workers: int) -> PodVerdict:
    """Report that it never started in some workers: these serve without it if FAIL_OPEN is set.

    Envoy counts such requests in ``worker_fail_open_skip_total``.
    """
    said = [case.sighting.unstarted] if case.sighting.unstarted else []
    quoted = f" It says: {said[0]}." if said else ""
    message = f"The plugin did not start in {workers} of {case.sighting.concurrency or '?'} workers"
    if any(entry.fail == "FAIL_OPEN" for entry in case.sighting.entries):
        message = f"{message}, which let every request pass without it.{quoted}"
        return case.row(State.UNHEALTHY, Reason.RUNNING_UNPROTECTED, message, *said)
    return case.row(State.UNHEALTHY, Reason.PLUGIN_CRASHED, f"{message}.{quoted}", *said)


def _is_recent(case: PodCase, crash: Crash) -> bool:
    """Return True if there was no minute without a crash since."""
    return crash.at is None or case.sighting.at + case.sighting.skew - crash.at <= CRASH_QUIET


def _concerns_current(case: PodCase, crash: Crash) -> bool:
    """Return True if it is about the configuration that Envoy runs now, and the plugin was not started again since."""
    loaded = case.sighting.log.newest(LogKind.LOADED)
    begun = [entry.last_updated for entry in case.sighting.entries] + ([loaded.at] if loaded else [])
    if crash.at is None:
        return True
    if any(moment and crash.at < moment for moment in begun):
        return False
    return not cases.restarts_plugin(case) or _is_recent(case, crash)


def _is_ours(case: PodCase, crash: Crash) -> bool:
    """Return True if the crash is of our plugin's code.

    Plugins with the same code share their VMs, so a crash of one is a crash of all. A line without a name is ours only
    if no other code runs: the number of VMs is exactly what our code needs.
    """
    seen = case.sighting
    if crash.plugin:
        return crash.plugin in seen.code_names or case.wanted.plugin_name_matches(crash.plugin)
    if seen.code_files != 1 or seen.stats.vm_active is None or seen.concurrency is None:
        return False
    return seen.stats.vm_active <= VMS_BESIDE_WORKERS + seen.concurrency


def _report_crash(case: PodCase, threads: int, lines: Sequence[str], again: str = STAYS_DOWN) -> PodVerdict:
    workers = case.sighting.concurrency or threads
    where = f"in {min(threads, workers)} of {workers} workers"
    told = f" It says: {lines[-1]}." if lines else ""
    if any(entry.fail == "FAIL_OPEN" for entry in case.sighting.entries):
        message = f"The plugin crashed {where}, which let every request pass without it.{told} {again}"
        return case.row(State.UNHEALTHY, Reason.RUNNING_UNPROTECTED, message, *lines)
    if cases.restarts_plugin(case):
        quiet = f"{CRASH_QUIET.total_seconds():.0f} s"
        again = f"The gateway starts it again with the next requests; {quiet} without a crash must pass."
        message = f"The plugin crashed {where}, and requests got 503 meanwhile.{told} {again}"
    else:
        message = f"The plugin crashed {where}, which answer 503 to every request.{told} {again}"
    return case.row(State.UNHEALTHY, Reason.PLUGIN_CRASHED, message, *lines)
