"""Find out if the gateway received the wanted configuration, and if its listeners use it."""

from __future__ import annotations

from dataclasses import replace

from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.logs import LogKind
from pluginrelease.core.gateway.observations import STAND_INS, ExtensionConfig, FilterKind
from pluginrelease.core.gateway.verdict import cases
from pluginrelease.core.gateway.verdict.cases import PodCase
from pluginrelease.core.gateway.verdict.values import PodVerdict, State

# Istio's agent fetches again only when the control plane sends the plugin again (pkg/wasm/convert.go)
FETCH_AGAIN = (
    "When the registry serves the image again, replace the pod or change the release: "
    "the gateway does not try again soon."
)


CHECK_CONTROL_PLANE = (
    "Check that the control plane runs (istiod; with Higress also its controller, whose log names refused objects)"
)


REACHES = "the entry's selector or targetRefs, and plugin.match, reach this pod"


NOT_REPLACED = (
    "Higress's controller did not find one of the Secrets or keys; its log says which. Create it: the operator makes "
    "Higress read it again."
)


def check_fetched(case: PodCase) -> PodVerdict | None:
    """Return a verdict if an RBAC filter replaces the plugin.

    It acts on every request, so it is reported at once, unless it is an old one.
    """
    standing = [entry for entry in case.sighting.entries if entry.kind in STAND_INS]
    if not standing:
        return None
    failed = case.sighting.log.newest(LogKind.FETCH_FAILED)
    current = any(case.is_since_write(entry.last_updated) for entry in standing) or failed is not None
    if not current and not case.late:
        message = "The agent's substitute for an earlier revision, which it could not fetch, is still there."
        return case.row(State.PENDING, Reason.AWAITING_CONFIG, message)
    cause = f" It says: {cases.quote(failed)}." if failed else ""
    cause = f"{cause} {FETCH_AGAIN}"
    if any(entry.kind is FilterKind.RBAC_ALLOW for entry in standing):
        message = f"The gateway could not fetch the plugin; FAIL_OPEN lets every request pass without it.{cause}"
        return case.row(State.UNHEALTHY, Reason.RUNNING_UNPROTECTED, message, *cases.quote_lines(failed))
    message = f"The gateway could not fetch the plugin and answers 403 to every request.{cause}"
    return case.row(State.UNHEALTHY, Reason.FETCH_FAILED, message, *cases.quote_lines(failed))


def check_delivered(case: PodCase) -> PodVerdict | None:
    """Return a verdict if Envoy received another configuration last."""
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
        return case.report_waiting(
            Reason.AWAITING_CONFIG,
            f"The gateway has not received the plugin: it refuses its listeners' updates. It says: {blocked[0]}.",
            then=(State.UNHEALTHY, Reason.CONFIG_NOT_DELIVERED),
            hint="Correct or delete what is named there. The gateway receives this plugin with its next update.",
        )
    return case.report_waiting(
        Reason.AWAITING_CONFIG,
        "The gateway has not received the plugin yet.",
        then=(State.UNHEALTHY, Reason.CONFIG_NOT_DELIVERED),
        hint=f"{CHECK_CONTROL_PLANE}, and that {REACHES}.{_of_gateway(case)}",
    )


def _of_gateway(case: PodCase) -> str:
    """Return what to do if istiod ignores selectors on pods of a Gateway. istiod reports that nowhere."""
    name = case.sighting.pod.gateway
    if name is None:
        return ""
    return (
        f" It is a pod of the Gateway {name}: istiod ignores selector there if its setting "
        "ENABLE_SELECTOR_BASED_K8S_GATEWAY_POLICY is false. Name the Gateway in targetRefs instead."
    )


def _explain_mismatch(case: PodCase, entry: ExtensionConfig) -> PodVerdict:
    if entry.digest_hex == case.wanted.digest_hex:
        if replace(case.wanted, replaces=False).is_given(entry.config, entry.env):
            return case.report_waiting(
                Reason.PLACEHOLDER_NOT_REPLACED,
                "The gateway received the placeholders ${secret…} as text.",
                then=(State.UNHEALTHY, Reason.PLACEHOLDER_NOT_REPLACED),
                hint=NOT_REPLACED,
            )
        return case.report_waiting(
            Reason.AWAITING_CONFIG,
            "The gateway has the revision's code with another configuration.",
            then=(State.UNHEALTHY, Reason.CONFIG_MISMATCH),
            hint="Another client writes this WasmPlugin's pluginConfig, or the control plane changes it.",
        )
    return case.report_waiting(
        Reason.AWAITING_CONFIG,
        f"The gateway still has sha256:{(entry.digest_hex or '')[:12]} and not sha256:{case.wanted.digest_hex[:12]}.",
        then=(State.UNHEALTHY, Reason.CONFIG_NOT_DELIVERED),
        hint=f"{CHECK_CONTROL_PLANE}, and that the gateway is connected to it.",
    )


def check_attached(case: PodCase) -> PodVerdict | None:
    if case.sighting.warming:
        return case.report_waiting(
            Reason.AWAITING_LISTENER,
            f"The listener {case.sighting.warming[0]} is still warming.",
            then=(State.UNHEALTHY, Reason.LISTENER_STUCK),
            hint="Its last update is not active yet; `/init_dump` of the gateway's admin port says what it waits for.",
        )
    if case.sighting.referenced is None:
        return _wait_for_listener(case)
    if not case.sighting.referenced:
        return case.report_waiting(
            Reason.AWAITING_LISTENER,
            "The gateway has the plugin, and none of its listeners uses it.",
            then=(State.UNHEALTHY, Reason.NOT_REFERENCED),
            hint="Check the plugin's match and that no listener update is refused.",
        )
    return None


def _wait_for_listener(case: PodCase) -> PodVerdict:
    return case.report_waiting(
        Reason.NO_HTTP_LISTENER,
        "The gateway has no HTTP listener, so no listener uses the plugin.",
        then=(State.UNKNOWN, Reason.NO_HTTP_LISTENER),
        hint="Create a Gateway with an HTTP server for it.",
    )
