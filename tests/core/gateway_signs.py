"""A running gateway with two workers, and the signs that it may show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pluginrelease.core.gateway.identity import DesiredPlugin, Incarnation
from pluginrelease.core.gateway.logs import LogEvent, LogFindings, LogKind
from pluginrelease.core.gateway.observations import Baseline, ExtensionConfig, FilterKind, PodObservation, PodRef, Stats
from pluginrelease.core.gateway.verdict import judging, values

WRITE = datetime(2026, 11, 20, 12, tzinfo=UTC)
NEW, OLD = "a" * 64, "b" * 64
WANTED = DesiredPlugin("apps", "header", NEW, {"allow": True}, "FAIL_CLOSE")
POD = PodRef("apps", "gateway-1", "uid-1", ready=True)
STARTED = WRITE - timedelta(hours=1)
RUN = Incarnation.of("uid-1", STARTED)


def after(seconds: float) -> datetime:
    return WRITE + timedelta(seconds=seconds)


ENTRY = ExtensionConfig(
    name="extensions.istio.io/wasmplugin/apps.header",
    kind=FilterKind.WASM,
    type_url="type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
    plugin_name="apps.header",
    path=f"/var/lib/istio/data/x/{NEW}.wasm",
    digest_hex=NEW,
    config={"allow": True},
    fail="FAIL_CLOSED",
    last_updated=after(1),
)
BEFORE = Baseline(
    RUN, config_reload=1, config_fail=0, update_rejected=0, vm_created=5, vm_reloads=0, named=True, digest_hex=OLD
)
# a running gateway with two workers that has received the wanted configuration and has not shown more
QUIET = PodObservation(
    POD,
    after(5),
    envoy_version="1.40.0",
    concurrency=2,
    started_at=STARTED,
    entries=(ENTRY,),
    code_files=1,
    referenced=True,
    stats=Stats(vm_created=5, vm_active=4, vm_reloads=0, named=True),
)
COUNTED = replace(QUIET, stats=replace(QUIET.stats, config_reload=2, config_fail=0, update_rejected=0))
CROWD = replace(QUIET, code_files=2, stats=replace(QUIET.stats, vm_active=8))


def event(kind: LogKind, at: datetime | None = None, *causes: str, everywhere: bool = True) -> LogFindings:
    return LogFindings((LogEvent(at or after(2), kind, f"line of {kind}", causes, everywhere),))


def entry(**changes: Any) -> tuple[ExtensionConfig, ...]:
    return (replace(ENTRY, **changes),)


TIMEOUT = timedelta(seconds=60)
GIVEN: Mapping[str, Any] = {"write_at": WRITE, "baselines": [BEFORE], "load_timeout": TIMEOUT}


def judged(sighting: PodObservation, *, late: bool = False, **given: Any) -> values.PodVerdict:
    at = WRITE + TIMEOUT + timedelta(seconds=1)
    found = judging.judge(WANTED, [replace(sighting, at=at) if late else sighting], **{**GIVEN, **given})
    return found.pods[0]


# ------------------------------------------------------------------------------------------------------ positive signs

FRESH = replace(QUIET, started_at=after(10), entries=entry(last_updated=after(11)))


# -------------------------------------------------------------------------------------------------------------- trouble

REFUSED_ONCE = event(LogKind.REJECTED, after(2), "Wasm VM failed Missing or unknown Proxy-Wasm ABI version")
PROVED: dict[str, Any] = {"verified": [RUN]}
