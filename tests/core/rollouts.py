"""Rollouts to decide about: releases of one and two entries, what became of them, and what their gateways show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pluginrelease import api
from pluginrelease.core import revision as revisions
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict
from tests.harness.reasons import give_reason
from tests.harness.releases import release

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DEADLINE = timedelta(minutes=10)
OLD, NEW, NEXT = "aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"


def ago(**elapsed: float) -> datetime:
    return NOW - timedelta(**elapsed)


PUBLIC, INTERNAL = "public", "internal"
SELECTOR = api.Selector(match_labels={"istio": "ingressgateway"})
TARGET = api.TargetReference(group="gateway.networking.k8s.io", kind="Gateway", name="edge")
OTHER_SPEC: dict[str, Any] = {"spec__plugin": {"config": {"other": True}}}


def failure(revision: str = NEW, *gateways: str, held: bool | None = None) -> api.RolloutFailure:
    return api.RolloutFailure(
        revision=revision,
        gateways=list(gateways or (PUBLIC,)),
        held=held,
        reason="PluginRejected",
        message="no",
        at=ago(minutes=1),
    )


def rolling(spec: dict[str, Any] | None = None, **changes: Any) -> api.RolloutStatus:
    """Return a rollout of what the release's spec wants, that began a moment ago."""
    wanted = revisions.spec_hash(release(**(spec or {})).spec)
    return api.RolloutStatus(**{"spec_hash": wanted, "started_at": ago(seconds=5), **changes})


def entry(
    name: str = PUBLIC,
    stable: str | None = None,
    *,
    selector: api.Selector | None = SELECTOR,
    attachment: api.Attachment | None = None,
    adopted: str | None = None,
    state: api.GatewayState = api.GatewayState.PENDING,
) -> api.GatewayStatus:
    """Return the row of an entry with what it falls back to."""
    pods = attachment or api.Attachment(selector)
    kept = api.StableRevision(revision=stable, **pods._asdict()) if stable else None
    return api.GatewayStatus(name=name, stable=kept, adopted=adopted, state=state, reason="Pending")


def having(known: api.RolloutStatus | None = None, *, annotations: dict[str, str] | None = None, **given: Any) -> Any:
    """A release with this rollout in its status; ``given``: more of the status, or parts of the manifest by path."""
    parts = {path: given.pop(path) for path in list(given) if "__" in path}
    found = release(metadata__annotations=annotations or {}, **parts)
    return found.model_copy(update={"status": api.Status(rollout=known, **given)})


def with_two(known: api.RolloutStatus | None, *rows: api.GatewayStatus, **given: Any) -> Any:
    """A release of two entries, ``public`` and ``internal``, with these rows in its status."""
    first = release().spec.gateways[0]
    gateways = [entry.wire() for entry in (first, first.model_copy(update={"name": INTERNAL, "namespace": "apps"}))]
    return having(known, spec__gateways=gateways, gateways=list(rows), **given)


def verdict(state: State, reason: str = "", *, pods: int = 1) -> Verdict:
    names = [f"gateway-{number}" for number in range(pods)]
    rows = [
        PodVerdict(PodRef("apps", name, name, ready=True), state, give_reason(state, reason), "it says")
        for name in names
    ]
    return Verdict(state, give_reason(state, reason), f"because of {reason or state}", tuple(rows))


LOADED, PENDING, UNKNOWN = verdict(State.LOADED), verdict(State.PENDING), verdict(State.UNKNOWN)
REJECTED = verdict(State.UNHEALTHY, "PluginRejected")
NO_PODS = verdict(State.PENDING, "NoGatewayPods", pods=0)
CRASHED, HANGING = (verdict(State.UNHEALTHY, reason) for reason in ("GatewayCrashed", "GatewayUnresponsive"))
SECOND = rolling(failure=failure(NEW, INTERNAL))
