"""A release as large as one may be: 64 entries of gateways with 2,000 pods, and its status at the longest."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway import checkpoint, notes, raised_loggers
from pluginrelease.core.gateway.container import Container
from pluginrelease.core.gateway.identity import Incarnation, pod_mark
from pluginrelease.core.gateway.observations import ExtensionConfig, FilterKind, PodObservation, PodRef, Stats
from pluginrelease.core.gateway.raised_loggers import RaisedLogger
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict
from pluginrelease.core.status import room
from tests.harness.releases import ARTIFACT, JSON, manifest

NOW = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
OLD, NEW = "0123456789", "abcdef0123"
ENTRIES = range(api.MAX_GATEWAYS)
SAID = "Envoy said that it cannot run the plugin, and why, at length. "
TIME = times.to_seconds(NOW)


def large(namespace: str) -> JSON:
    """The release, with one entry for each of 64 namespaces."""
    entries = [
        {
            "name": name_entry(number),
            "namespace": f"istio-ingress-of-team-{number:03}",
            "selector": {"matchLabels": {"istio": "ingressgateway", "team": f"{number:03}"}},
        }
        for number in ENTRIES
    ]
    return manifest(metadata__namespace=namespace, spec__gateways=entries)


def name_entry(number: int) -> str:
    return f"public-gateway-of-team-{number:03}"


def pods_of(entry: int) -> list[PodObservation]:
    """What the pods of one entry show: all together there are 2,000, none like another."""
    numbers = range(entry, api.MAX_PODS, api.MAX_GATEWAYS)
    return [observe(f"istio-ingress-of-team-{entry:03}", number) for number in numbers]


def observe(namespace: str, number: int) -> PodObservation:
    uid = hashlib.sha256(f"{number}".encode()).hexdigest()
    name = f"istio-ingressgateway-7d9c5b6f8d-{uid[:5]}"
    pod = PodRef(namespace, name, uid[:36], ready=True, image="proxyv2:1.31.0", container=Container(running=True))
    code = ExtensionConfig("auth", FilterKind.WASM, "", digest_hex="cd" * 32)
    return PodObservation(
        pod,
        NOW,
        started_at=NOW - timedelta(days=30, milliseconds=number),
        entries=(code,),
        others_updated=NOW - timedelta(days=3, milliseconds=number),
        stats=Stats(98765, 4321, 123, vm_created=87654, vm_reloads=number % 1000, named=True),
    )


def rolling(entry: int) -> api.Observation:
    """The notes on one entry while its last pod is awaited: every pod runs the revision, and ran the one before."""
    seen = pods_of(entry)
    runs = frozenset(Incarnation.of(sighting.pod.uid, sighting.started_at or NOW) for sighting in seen)
    first = begin(None, entry, OLD, seen)
    first = notes.store(replace(notes.read(first), loaded=runs), first)
    second = begin(first, entry, NEW, seen)
    levels = [
        RaisedLogger(sighting.pod.namespace, sighting.pod.name, pod_mark(sighting.pod.uid), "warning")
        for sighting in seen
    ]
    held_up = {"deliverable_since": TIME, "written_at": TIME, "raised_loggers": raised_loggers.store(levels)}
    second = second.model_copy(update=held_up)
    return notes.store(replace(notes.read(second), loaded=runs), second)


def begin(known: api.Observation | None, entry: int, revision: str, seen: list[PodObservation]) -> api.Observation:
    return checkpoint.begin(
        known,
        name=name_entry(entry),
        revision=revision,
        load=revision,
        carried=known.revision if known else None,
        stable=None,
        before=seen,
        probes_failed_before=[],
        now=NOW,
    )


def resting(entry: int) -> api.Observation:
    """The notes on the same entry once it runs everywhere."""
    known = rolling(entry).model_copy(update={"raised_loggers": []})
    rows = tuple(PodVerdict(sighting.pod, State.LOADED, Reason.LOADED, "") for sighting in pods_of(entry))
    runs = notes.read(known).loaded
    return checkpoint.keep(known, Verdict(State.LOADED, Reason.LOADED, "", rows, runs), at_rest=True)


def describe(observations: list[api.Observation], message: str, failure: api.RolloutFailure | None) -> api.Status:
    """The status around these notes, with messages as long as this one."""
    return api.Status(
        observed_generation=1,
        phase="Progressing",
        summary=api.GatewaysSummary(gateways="0/64", pods="1960/2000", desired=2000, loaded=1960, failed=40),
        conditions=[condition(kind, message) for kind in api.ConditionType],
        target_revision=NEW,
        stable_revision=OLD,
        artifact=ARTIFACT,
        gateways=[row(entry, message) for entry in ENTRIES],
        pods=[pod_row(number, message) for number in range(api.MAX_POD_ROWS)],
        rollout=api.RolloutStatus(spec_hash=NEW, started_at=TIME, failure=failure),
        history=[deployed(number) for number in range(12)],
        checkpoint=api.Checkpoint(gateways=observations),
    )


def condition(kind: api.ConditionType, message: str) -> api.Condition:
    return api.Condition(
        type=kind, status="False", reason="PluginRejected", message=message, last_transition_time=TIME,
        observed_generation=1,
    )  # fmt: skip


def row(entry: int, message: str) -> api.GatewayStatus:
    """The row of one entry, at its longest."""
    name, namespace = f"auth-{name_entry(entry)}", f"istio-ingress-of-team-{entry:03}"
    labels = {"istio": "ingressgateway", "team": f"{entry:03}"}
    return api.GatewayStatus(
        name=name_entry(entry),
        object=api.ObjectStatus(
            api_version="extensions.istio.io/v1alpha1", kind="WasmPlugin", namespace=namespace, name=name, uid="u" * 36
        ),
        revision=NEW,
        stable=api.StableRevision(revision=OLD, selector=api.Selector(match_labels=labels)),
        state=api.GatewayState.UNHEALTHY,
        reason="PluginRejected",
        message=message[: api.ENTRY_MESSAGE_MAX],
        desired=32,
        loaded=31,
        failed=1,
    )


def pod_row(number: int, message: str) -> api.PodStatus:
    seen = observe(f"istio-ingress-of-team-{number:03}", number).pod
    return api.PodStatus(
        gateway=name_entry(number),
        name=seen.name,
        namespace=seen.namespace,
        state="Unhealthy",
        reason="PluginRejected",
        message=message[: api.ENTRY_MESSAGE_MAX],
    )


def deployed(number: int) -> api.HistoryEntry:
    return api.HistoryEntry(
        revision=f"{number:010x}",
        number=number,
        state=api.HistoryState.FAILED,
        ref=ARTIFACT.ref,
        digest=ARTIFACT.digest,
        reason="PluginRejected",
        first_deployed=TIME,
        last_deployed=TIME,
    )


def status_rolling() -> api.Status:
    """A rollout that every gateway has loaded but one pod each, every message as long as it may be."""
    said = (SAID * 34)[: api.MESSAGE_MAX]
    failure = api.RolloutFailure(
        revision=NEW, gateways=[name_entry(entry) for entry in ENTRIES], reason="PluginRejected",
        message=(SAID * 34)[: api.MESSAGE_MAX], at=TIME,
    )  # fmt: skip
    return room.fit(describe([rolling(entry) for entry in ENTRIES], said, failure))


def status_resting() -> api.Status:
    """The same release once it runs everywhere."""
    return describe([resting(entry) for entry in ENTRIES], "All 32 gateway pods run the plugin.", None)
