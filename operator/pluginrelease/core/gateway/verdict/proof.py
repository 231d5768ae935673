"""The positive signs: what proves that a gateway runs the plugin."""

from __future__ import annotations

from datetime import datetime, timedelta

from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.logs import LogKind
from pluginrelease.core.gateway.observations import PodObservation
from pluginrelease.core.gateway.verdict import cases, workers
from pluginrelease.core.gateway.verdict.cases import ANSWERS_TO_CONFIGURATION, NAMED_STATS_SINCE, PodCase
from pluginrelease.core.gateway.verdict.values import PodVerdict, State

VMS_MADE_BESIDE_WORKERS = 3
# a crash after a restart by the kubelet comes within this time
JUST_BEFORE = timedelta(seconds=30)
# Envoy answers no request while it loads what it has received, so after this time it has tried
TRIED = timedelta(seconds=5)


def prove(case: PodCase) -> PodVerdict:
    signs = [sign for sign in _find_signs(case) if sign]
    hung = workers.check_hung(case)
    if signs and not (hung and signs == [_recall_proof(case)]):
        notes = [f"an earlier update is still refused: {error.details}" for error in case.sighting.listener_errors]
        if case.sighting.log.truncated:
            notes.append("its log was rotated, or is too long: a crash could be missed")
        return case.row(State.LOADED, Reason.LOADED, f"Runs the plugin: {signs[0]}.", *signs, *notes)
    if hung is not None:
        return hung
    if _runs_since_before(case):
        message = (
            "It has had these bytes with this configuration since before the write, so it loaded nothing new. Its "
            "next start proves that it runs them."
        )
        return case.row(State.LOADED, Reason.RUNNING_NOT_PROVEN, message)
    if case.sighting.log.truncated:
        message = "The gateway's log since the write was rotated, or is too long, so a refusal could be missed."
        return case.report_waiting(Reason.LOG_INCOMPLETE, message, then=(State.UNKNOWN, Reason.LOG_INCOMPLETE))
    return case.report_waiting(
        Reason.AWAITING_POSITIVE_SIGN,
        "The gateway has the plugin and refuses nothing, but has not yet shown that it runs it.",
        then=(State.UNKNOWN, Reason.NO_POSITIVE_SIGN),
        hint="Restart the pod, or publish its statistics: annotation sidecar.istio.io/statsInclusionPrefixes "
        "with extension_config_discovery on the gateway's pods.",
    )


def _runs_since_before(case: PodCase) -> bool:
    """Return True if the gateway received the wanted configuration before the write, and has as many VMs as it needs.

    Envoy does nothing about a configuration that it already has (source/extensions/filters/http/common, at 1.40), so
    there is no new sign. A refused one shows as current as well, but lacks its VMs. What was still in transit has had
    its time.
    """
    seen = case.sighting
    if not case.may_run_already or seen.at - case.write_at < TRIED or not _has_enough_vms(seen):
        return False
    received = [entry.last_updated for entry in seen.entries]
    return bool(received) and all(moment is not None and not case.is_since_write(moment) for moment in received)


def _find_signs(case: PodCase) -> tuple[str | None, ...]:
    """Return the positive signs. Signs that need a log without refusals need the complete log."""
    if not case.sighting.log.truncated:
        return (
            _find_reload_counter(case),
            _find_log_line(case),
            _recall_proof(case),
            _find_statistics(case),
            _find_new_vms(case),
            _find_second_code(case),
        )
    # Envoy counts and logs as loaded what only its workers refused; then only their VMs show it
    return (
        (_find_reload_counter(case), _find_log_line(case), _recall_proof(case))
        if _has_enough_vms(case.sighting)
        else (_recall_proof(case),)
    )


def _find_reload_counter(case: PodCase) -> str | None:
    """Return the sign of config_reload.

    A refused configuration raises it too, so update_rejected and config_fail must not rise.
    """
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
    """Return the sign of a plugin's own statistics, which Envoy makes with the plugin.

    Envoy before 1.33 has none; there the number of VMs is the sign.
    """
    stats = case.sighting.stats
    first = cases.started_after_write(case) or _has_loaded_nothing_else(case)
    fresh = first or (case.baseline is not None and case.baseline.named is False)
    if not fresh or not _has_enough_vms(case.sighting):
        return None
    if stats.named:
        return f"Envoy made the plugin's statistics, and {stats.vm_active} VMs run"
    if cases.envoy_release(case.sighting) < NAMED_STATS_SINCE and first and not case.sighting.code_shared:
        return f"{stats.vm_active} VMs run, as many as the plugins need"
    return None


def _has_loaded_nothing_else(case: PodCase) -> bool:
    """Return True if an Envoy that started just before the write has VMs for its present configuration only.

    A second configuration costs one VM at least, refused or not. So this is the only configuration that this Envoy ever
    had, if it received it since the write, long enough ago to have tried it.
    """
    made = _count_codes_made(case)
    return made is not None and made <= case.sighting.code_files


def _find_second_code(case: PodCase) -> str | None:
    """Return the sign of an Envoy that started just before the write, and has made the VMs of more than one code since.

    This is a gateway that crashed: it starts again with what crashed it, and then receives what is put back. What is
    refused costs one VM, and so does another configuration of the same code. So with the VMs of whole codes and none
    more, each code was loaded, also the present one. Other plugins have VMs of their own.
    """
    made, seen = _count_codes_made(case), case.sighting
    if made is None or made < 2 or not made.is_integer() or seen.code_files != 1 or seen.stats.vm_reloads:
        return None
    if not _has_enough_vms(seen):
        return None
    return f"{seen.stats.vm_created} VMs were made for {made:.0f} codes since Envoy started, and none for a refused one"


def _count_codes_made(case: PodCase) -> float | None:
    """Return for how many codes an Envoy that started just before the write has made VMs.

    None if it is not such an Envoy, or has not tried what it received since the write.
    """
    seen = case.sighting
    if case.baseline is not None or seen.started_at is None or seen.stats.vm_created is None or not seen.concurrency:
        return None
    if seen.started_at - seen.skew < case.write_at - JUST_BEFORE:
        return None
    received = [entry.last_updated for entry in seen.entries if entry.last_updated is not None]
    if not received or not all(case.is_since_write(moment) and _was_tried(seen, moment) for moment in received):
        return None
    return seen.stats.vm_created / (VMS_MADE_BESIDE_WORKERS + seen.concurrency)


def _was_tried(seen: PodObservation, received: datetime) -> bool:
    return seen.at + seen.skew - received >= TRIED


def _find_new_vms(case: PodCase) -> str | None:
    """Return the sign of new code in a running Envoy: a refused module costs one VM, a loaded one several."""
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
    """Return True if as many VMs run as the loaded plugins need. A worker without one skips the plugin silently."""
    if sighting.stats.vm_active is None or sighting.concurrency is None:
        return False
    return sighting.stats.vm_active >= cases.count_needed_vms(sighting)
