"""Whether the gateway received the wanted configuration, and its listeners use it."""

from __future__ import annotations

from dataclasses import replace

from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.logs import LogKind
from pluginrelease.core.gateway.observations import STAND_INS, ExtensionConfig, FilterKind
from pluginrelease.core.gateway.verdict import cases
from pluginrelease.core.gateway.verdict.cases import PodCase
from pluginrelease.core.gateway.verdict.values import PodVerdict, State

# Istio's agent fetches again only when the control plane sends the plugin anew (pkg/wasm/convert.go)
FETCH_AGAIN = (
    "Once the registry gives the image out again, replace the pod or change the release: "
    "the gateway does not soon try again by itself."
)


CHECK_CONTROL_PLANE = (
    "Check that the control plane runs (istiod; with Higress its controller too, whose log names what it does not take)"
)


NOT_REPLACED = (
    "Higress's controller did not find one of the Secrets or keys, and its log says which. Put it there: the operator "
    "makes Higress look again."
)


def check_fetched(case: PodCase) -> PodVerdict | None:
    """An RBAC filter in the plugin's place acts on every request, so it is told at once unless it is an old one."""
    standing = [entry for entry in case.sighting.entries if entry.kind in STAND_INS]
    if not standing:
        return None
    failed = case.sighting.log.newest(LogKind.FETCH_FAILED)
    current = any(case.since_write(entry.last_updated) for entry in standing) or failed is not None
    if not current and not case.late:
        message = "A stand-in for an earlier revision, which could not be fetched, is still in the plugin's place."
        return case.row(State.PENDING, Reason.AWAITING_CONFIG, message)
    cause = f" It says: {cases.quote(failed)}." if failed else ""
    cause = f"{cause} {FETCH_AGAIN}"
    if any(entry.kind is FilterKind.RBAC_ALLOW for entry in standing):
        message = f"The gateway could not fetch the plugin; FAIL_OPEN lets every request pass without it.{cause}"
        return case.row(State.UNHEALTHY, Reason.RUNNING_UNPROTECTED, message, *cases.quote_lines(failed))
    message = f"The gateway could not fetch the plugin and answers 403 to every request.{cause}"
    return case.row(State.UNHEALTHY, Reason.FETCH_FAILED, message, *cases.quote_lines(failed))


def check_delivered(case: PodCase) -> PodVerdict | None:
    """The wanted configuration is not what Envoy received last."""
    entries = case.sighting.entries
    stale = [entry for entry in entries if not _is_delivered(entry, case.wanted)]
    if entries and not stale:
        return None
    newest = case.sighting.log.newest()
    if newest and newest.kind is LogKind.FETCH_FAILED:
        kept = "keeps what it had" if entries else "runs without it"
        message = f"The gateway could not fetch the plugin and {kept}. It says: {cases.quote(newest)}. {FETCH_AGAIN}"
        return case.row(State.UNHEALTHY, Reason.FETCH_FAILED, message, *cases.quote_lines(newest))
    if not entries:
        return _explain_absence(case)
    return _explain_mismatch(case, stale[0])


def _is_delivered(entry: ExtensionConfig, wanted: DesiredPlugin) -> bool:
    return entry.digest_hex == wanted.digest_hex and wanted.is_given(entry.config, entry.env)


def _explain_absence(case: PodCase) -> PodVerdict:
    if case.sighting.referenced is None:
        return _wait_for_listener(case)
    blocked = [error.details for error in case.sighting.other_listener_errors[:1]]
    if blocked:
        return case.waiting(
            Reason.AWAITING_CONFIG,
            f"The gateway has not received the plugin: it refuses its listeners' updates. It says: {blocked[0]}.",
            then=(State.UNHEALTHY, Reason.CONFIG_NOT_DELIVERED),
            hint="Mend or delete what is named there; the gateway takes this one with the next change that it is sent.",
        )
    return case.waiting(
        Reason.AWAITING_CONFIG,
        "The gateway has not received the plugin yet.",
        then=(State.UNHEALTHY, Reason.CONFIG_NOT_DELIVERED),
        hint=f"{CHECK_CONTROL_PLANE}, and that the plugin's selector, phase and match reach this pod.",
    )


def _explain_mismatch(case: PodCase, entry: ExtensionConfig) -> PodVerdict:
    if entry.digest_hex == case.wanted.digest_hex:
        if replace(case.wanted, replaces=False).is_given(entry.config, entry.env):
            return case.waiting(
                Reason.PLACEHOLDER_NOT_REPLACED,
                "The gateway was given the placeholders ${secret…} as text.",
                then=(State.UNHEALTHY, Reason.PLACEHOLDER_NOT_REPLACED),
                hint=NOT_REPLACED,
            )
        return case.waiting(
            Reason.AWAITING_CONFIG,
            "The gateway has the wanted code with another configuration.",
            then=(State.UNHEALTHY, Reason.CONFIG_MISMATCH),
            hint="Something else writes this WasmPlugin's pluginConfig, or the control plane changes it.",
        )
    return case.waiting(
        Reason.AWAITING_CONFIG,
        f"The gateway still has sha256:{(entry.digest_hex or '')[:12]} and not sha256:{case.wanted.digest_hex[:12]}.",
        then=(State.UNHEALTHY, Reason.CONFIG_NOT_DELIVERED),
        hint=f"{CHECK_CONTROL_PLANE}, and that the gateway is connected to it.",
    )


def check_attached(case: PodCase) -> PodVerdict | None:
    if case.sighting.warming:
        return case.waiting(
            Reason.AWAITING_LISTENER,
            f"The listener {case.sighting.warming[0]} is still warming.",
            then=(State.UNHEALTHY, Reason.LISTENER_STUCK),
            hint="Its last update serves nothing yet; `/init_dump` of the gateway's admin port says what it waits for.",
        )
    if case.sighting.referenced is None:
        return _wait_for_listener(case)
    if not case.sighting.referenced:
        return case.waiting(
            Reason.AWAITING_LISTENER,
            "The gateway has the plugin, and none of its listeners uses it.",
            then=(State.UNHEALTHY, Reason.NOT_REFERENCED),
            hint="Check the plugin's match and that no listener update is refused.",
        )
    return None


def _wait_for_listener(case: PodCase) -> PodVerdict:
    return case.waiting(
        Reason.NO_HTTP_LISTENER,
        "The gateway has no HTTP listener, so nothing asks for the plugin.",
        then=(State.UNKNOWN, Reason.NO_HTTP_LISTENER),
        hint="Give it a Gateway with an HTTP server.",
    )
