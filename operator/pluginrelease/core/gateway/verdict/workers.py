"""Whether every worker has a VM that runs the plugin: one without it lets requests pass."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.logs import Missing
from pluginrelease.core.gateway.verdict import cases
from pluginrelease.core.gateway.verdict.cases import CRASH_QUIET, PodCase
from pluginrelease.core.gateway.verdict.values import PodVerdict, State

SAME_UPDATE = timedelta(seconds=1)


def check_workers(case: PodCase) -> PodVerdict | None:
    """Envoy took the configuration, and some thread has no VM that runs it: requests pass there without the plugin.

    Envoy tries a configuration in a VM of its own, then gives it to those that serve. What only these refuse shows in
    a line that names nobody, and in fewer VMs. Where other code may run, neither shows whose VMs are missing.
    """
    seen = case.sighting
    lines = [thread.line for thread in seen.log.missing if _concerns_current(case, thread)]
    alone = seen.code_files <= 1
    if alone and lines and (_has_too_few(case) or seen.stats.vm_active is None):
        return report_refused(case, *lines)
    if alone and _has_too_few(case):
        return _report_too_few(case)
    doubtful = lines and (alone or _has_too_few(case))
    return _report_doubt(case, lines) if doubtful and not case.verified else None


def _report_doubt(case: PodCase, lines: Sequence[str]) -> PodVerdict:
    return case.waiting(
        Reason.AWAITING_POSITIVE_SIGN,
        f"Some plugin of this gateway runs on too few workers, and Envoy does not name it. It says: {lines[-1]}.",
        then=(State.UNKNOWN, Reason.NO_POSITIVE_SIGN),
        hint="Replacing the pod starts them all again; a probe would show whether this one runs.",
    )


def _report_too_few(case: PodCase) -> PodVerdict:
    seen = case.sighting
    message = f"Of the {cases.count_needed_vms(seen)} VMs that the plugin needs, {seen.stats.vm_active} run."
    then = (
        (State.UNKNOWN, Reason.NO_POSITIVE_SIGN)
        if cases.restarts_plugin(case)
        else (State.UNHEALTHY, Reason.PLUGIN_REFUSED_BY_WORKERS)
    )
    return case.waiting(
        Reason.AWAITING_POSITIVE_SIGN, message, then=then, hint="Requests pass without it where it is missing."
    )


def _concerns_current(case: PodCase, thread: Missing) -> bool:
    """Whether it is about the configuration that Envoy has; with FAIL_RELOAD Envoy tries again with a next request."""
    received = [entry.last_updated for entry in case.sighting.entries if entry.last_updated]
    if thread.at is None:
        return True
    late = not cases.restarts_plugin(case) or case.sighting.at + case.sighting.skew - thread.at <= CRASH_QUIET
    # the dump has milliseconds, and the thread that receives a configuration tries it before it notes the time
    return late and all(thread.at >= moment - SAME_UPDATE for moment in received)


def report_refused(case: PodCase, *lines: str) -> PodVerdict:
    count = case.sighting.stats.vm_active
    counted = (
        f"; of the {cases.count_needed_vms(case.sighting)} VMs that it needs, {count} run" if _has_too_few(case) else ""
    )
    message = (
        "Envoy took the plugin's configuration, and its workers refused it: it runs on no worker, and every request "
        f"passes without it, whatever failStrategy says{counted}. It says: {' / '.join(lines)}. The plugin refuses to "
        "be configured a second time in one VM: correct it, or release it with other bytes."
    )
    return case.row(State.UNHEALTHY, Reason.PLUGIN_REFUSED_BY_WORKERS, message, *lines)


def _has_too_few(case: PodCase) -> bool:
    """Whether VMs are counted, and there are fewer than the loaded codes need. Higress counts workers by the name."""
    seen = case.sighting
    if seen.stats.vm_active is None or seen.concurrency is None or seen.stats.unstarted is not None:
        return False
    return seen.stats.vm_active < cases.count_needed_vms(seen)
