"""The positive signs: what shows that a gateway runs the plugin."""

from __future__ import annotations

from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.logs import LogKind
from pluginrelease.core.gateway.observations import PodObservation
from pluginrelease.core.gateway.verdict import cases
from pluginrelease.core.gateway.verdict.cases import ANSWERS_TO_CONFIGURATION, NAMED_STATS_SINCE, PodCase
from pluginrelease.core.gateway.verdict.values import PodVerdict, State

VMS_MADE_BESIDE_WORKERS = 3


def prove(case: PodCase) -> PodVerdict:
    signs = [sign for sign in _find_signs(case) if sign]
    if signs:
        notes = [f"an earlier update is still refused: {error.details}" for error in case.sighting.listener_errors]
        if case.sighting.log.truncated:
            notes.append("its log was rotated, or is too long: a crash could be missed")
        return case.row(State.LOADED, Reason.LOADED, f"Runs the plugin: {signs[0]}.", *signs, *notes)
    if case.sighting.log.truncated:
        message = "The gateway's log since the write was rotated, or is too long, so a refusal could be missed."
        return case.waiting(Reason.LOG_INCOMPLETE, message, then=(State.UNKNOWN, Reason.LOG_INCOMPLETE))
    return case.waiting(
        Reason.AWAITING_POSITIVE_SIGN,
        "The gateway has the plugin and refuses nothing, and has not yet shown that it runs it.",
        then=(State.UNKNOWN, Reason.NO_POSITIVE_SIGN),
        hint="Restart the pod, or let its statistics be seen: annotation sidecar.istio.io/statsInclusionPrefixes "
        "with extension_config_discovery on the gateway's pods.",
    )


def _find_signs(case: PodCase) -> tuple[str | None, ...]:
    """The positive signs; those that rest on the log having no refusal need the whole log."""
    if not case.sighting.log.truncated:
        return (
            _find_reload_counter(case),
            _find_log_line(case),
            _recall_proof(case),
            _find_statistics(case),
            _find_new_vms(case),
        )
    # Envoy counts and logs what its workers refused as loaded: then only their VMs show it
    return (
        (_find_reload_counter(case), _find_log_line(case), _recall_proof(case))
        if _has_enough_vms(case.sighting)
        else (_recall_proof(case),)
    )


def _find_reload_counter(case: PodCase) -> str | None:
    """A refused configuration raises config_reload too, so update_rejected and config_fail must stand still."""
    now, before = case.sighting.stats, case.baseline
    if before is None or now.config_reload is None or before.config_reload is None:
        return None
    still = (now.update_rejected, now.config_fail) == (before.update_rejected, before.config_fail)
    risen = now.config_reload > before.config_reload
    return f"config_reload rose from {before.config_reload} to {now.config_reload}" if still and risen else None


def _find_log_line(case: PodCase) -> str | None:
    event = case.sighting.log.newest(*ANSWERS_TO_CONFIGURATION)
    if event is None or event.kind is not LogKind.LOADED or event.at is None or not event.everywhere:
        return None
    received = [entry.last_updated for entry in case.sighting.entries]
    if not all(moment and event.at >= moment for moment in received):
        return None
    return f"Envoy logged: {event.line}"


def _find_statistics(case: PodCase) -> str | None:
    """Envoy makes a plugin's own statistics only when it has created it; before 1.33 the count of VMs must do."""
    stats = case.sighting.stats
    fresh = cases.started_after_write(case) or (case.baseline is not None and case.baseline.named is False)
    if not fresh or not _has_enough_vms(case.sighting):
        return None
    if stats.named:
        return f"Envoy made the plugin's statistics, and {stats.vm_active} VMs run"
    if (
        cases.envoy_release(case.sighting) < NAMED_STATS_SINCE
        and cases.started_after_write(case)
        and not case.sighting.code_shared
    ):
        return f"{stats.vm_active} VMs run, as many as the plugins need"
    return None


def _find_new_vms(case: PodCase) -> str | None:
    """New code in a running Envoy: a refused module costs one VM, a loaded one a VM for every worker and more."""
    now, before = case.sighting.stats, case.baseline
    if before is None or before.vm_created is None or now.vm_created is None or not _has_enough_vms(case.sighting):
        return None
    alone = case.sighting.others_updated == before.others_updated
    reloaded = now.vm_reloads != before.vm_reloads and before.vm_reloads is not None
    if before.digest_hex == case.wanted.digest_hex or case.sighting.code_shared or not alone or reloaded:
        return None
    made = now.vm_created - before.vm_created
    enough = made >= VMS_MADE_BESIDE_WORKERS + (case.sighting.concurrency or 0)
    return f"{made} VMs were made for the new code, and no other plugin changed" if enough else None


def _recall_proof(case: PodCase) -> str | None:
    return "it was seen running this revision before, and nothing has changed since" if case.verified else None


def _has_enough_vms(sighting: PodObservation) -> bool:
    """Whether as many VMs run as the loaded plugins need: a worker without one skips the plugin silently."""
    if sighting.stats.vm_active is None or sighting.concurrency is None:
        return False
    return sighting.stats.vm_active >= cases.count_needed_vms(sighting)
