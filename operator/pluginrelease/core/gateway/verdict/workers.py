"""Find out if every worker has a VM that runs the plugin. A worker without one lets requests pass."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.logs import LogKind, Missing
from pluginrelease.core.gateway.verdict import cases
from pluginrelease.core.gateway.verdict.cases import ANSWERS_TO_CONFIGURATION, CRASH_QUIET, PodCase
from pluginrelease.core.gateway.verdict.values import PodVerdict, State

SAME_UPDATE = timedelta(seconds=1)


def check_workers(case: PodCase) -> PodVerdict | None:
    """Return a verdict if Envoy took the configuration but some thread has no VM that runs it.

    Requests on that thread pass without the plugin. Envoy tries a configuration in its own VM, then gives it to the
    workers. If only workers refuse it, that shows in a line without a plugin's name, and in fewer VMs. If other code
    may run, neither shows whose VMs are missing.
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


def check_unready(case: PodCase) -> PodVerdict | None:
    """Return a verdict if a pod has not been ready for its whole time because its workers hang.

    Workers serve the readiness probe. The pod answers on its admin port, and Envoy's watchdog has missed a worker since
    the write. A watchdog also misses workers on a busy node, so neither sign counts alone.
    """
    if case.sighting.unreachable is not None or not case.late:
        return None
    before = _count_hangs_before(case)
    if case.life.well is None or before is None or (case.sighting.stats.worker_hangs or 0) <= before:
        return check_hung(case)
    message = (
        "The gateway was ready before the write and is not ready now. Its admin port answers, and Envoy's watchdog has "
        "missed a worker since: it hangs, for example in a request that never ends. Only a restart of the gateway "
        "helps: delete the pod if this remains."
    )
    return case.row(State.UNHEALTHY, Reason.GATEWAY_UNRESPONSIVE, message)


def _count_hangs_before(case: PodCase) -> int | None:
    """Return how often Envoy's watchdog had missed a worker before the write; None if it is not known."""
    if case.baseline is not None:
        return case.baseline.worker_hangs or 0
    return 0 if cases.started_after_write(case) else None


def check_hung(case: PodCase) -> PodVerdict | None:
    """Return a verdict if Envoy created the plugin, a worker hangs, and not every worker has taken the configuration.

    A worker that never returns from a request keeps its old configuration. So no update completes, and only the missing
    log line shows that. Envoy's main thread answers, and the gateway is ready most of the time. If the worker hung
    before the write, the revision is not the cause.
    """
    seen = case.sighting
    event = seen.log.newest(*ANSWERS_TO_CONFIGURATION)
    if not seen.stats.worker_hangs or seen.log.truncated or event is None:
        return None
    if event.kind is not LogKind.LOADED or event.everywhere or not case.is_since_write(event.at):
        return None
    state = State.UNHEALTHY if seen.stats.worker_hangs > (_count_hangs_before(case) or 0) else State.UNKNOWN
    return case.report_waiting(
        Reason.AWAITING_POSITIVE_SIGN,
        "Envoy created the plugin, and not every worker has taken it.",
        then=(state, Reason.GATEWAY_UNRESPONSIVE),
        hint="A worker hangs, for example in a request that never ends. It takes no configuration, and its "
        "connections get no answer. Only a restart of the gateway helps: delete the pod if this remains.",
    )


def _report_doubt(case: PodCase, lines: Sequence[str]) -> PodVerdict:
    return case.report_waiting(
        Reason.AWAITING_POSITIVE_SIGN,
        f"Some plugin of this gateway runs on too few workers, and Envoy does not name it. It says: {lines[-1]}.",
        then=(State.UNKNOWN, Reason.NO_POSITIVE_SIGN),
        hint="Replace the pod to start all plugins again. A probe would show whether this one runs.",
    )


def _report_too_few(case: PodCase) -> PodVerdict:
    seen = case.sighting
    message = f"Of the {cases.count_needed_vms(seen)} VMs that the plugin needs, {seen.stats.vm_active} run."
    then = (
        (State.UNKNOWN, Reason.NO_POSITIVE_SIGN)
        if cases.restarts_plugin(case)
        else (State.UNHEALTHY, Reason.PLUGIN_REFUSED_BY_WORKERS)
    )
    return case.report_waiting(
        Reason.AWAITING_POSITIVE_SIGN, message, then=then, hint="Requests pass without it where it is missing."
    )


def _concerns_current(case: PodCase, thread: Missing) -> bool:
    """Return True if it is about the configuration that Envoy has; FAIL_RELOAD tries again at later requests."""
    received = [entry.last_updated for entry in case.sighting.entries if entry.last_updated]
    if thread.at is None:
        return True
    late = not cases.restarts_plugin(case) or case.sighting.at + case.sighting.skew - thread.at <= CRASH_QUIET
    # the dump has milliseconds, and a thread tries a configuration before it records the time
    return late and all(thread.at >= moment - SAME_UPDATE for moment in received)


def report_refused(case: PodCase, *lines: str) -> PodVerdict:
    count = case.sighting.stats.vm_active
    counted = (
        f"; of the {cases.count_needed_vms(case.sighting)} VMs that it needs, {count} run" if _has_too_few(case) else ""
    )
    message = (
        "Envoy accepted the plugin's configuration, but its workers refused it: it runs on no worker, and every "
        f"request passes without it, whatever failStrategy says{counted}. It says: {' / '.join(lines)}. The plugin "
        "refuses to be configured a second time in one VM: correct it, or release it with other bytes."
    )
    return case.row(State.UNHEALTHY, Reason.PLUGIN_REFUSED_BY_WORKERS, message, *lines)


def _has_too_few(case: PodCase) -> bool:
    """Return True if VMs are counted and are fewer than the loaded codes need.

    Higress counts workers by the plugin's name.
    """
    seen = case.sighting
    if seen.stats.vm_active is None or seen.concurrency is None or seen.stats.unstarted is not None:
        return False
    return seen.stats.vm_active < cases.count_needed_vms(seen)
