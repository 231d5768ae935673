"""Recorded answers of a real Envoy, read as the operator reads them."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import ijson

from pluginrelease.core.gateway.documents import Documents, observe_pod
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.listeners import ListenerReader, Listeners
from pluginrelease.core.gateway.observations import PodObservation, PodRef

RECORDED = Path(__file__).parents[1] / "fixtures" / "envoy"
POD = PodRef("apps", "gateway", "uid-1", ready=True)
BEGINNING = datetime.fromtimestamp(0, UTC)
CONFIG = {"allow": True, "size": 1}
NAME = "extensions.istio.io/trafficextension/apps.header~istio-translated-wasmplugin"
NEIGHBOUR = NAME.replace("header", "neighbour")


def recorded(case: str, part: str) -> str:
    return (RECORDED / case / f"{part}.json").read_text()


def documents(case: str) -> Documents:
    texts = (recorded(case, part) for part in ("server_info", "start", "ecds"))
    log = (RECORDED / case / "log.txt").read_text()
    return Documents(*texts, listeners(recorded(case, "listeners")), recorded(case, "stats"), log)


def listeners(text: str) -> Listeners:
    """As the edge reads them: event by event."""
    reader = ListenerReader()
    try:
        for path, kind, value in ijson.parse(io.BytesIO(text.encode()), use_float=True):
            reader.take(path, kind, value)
    except ijson.JSONError:
        reader.strange("no JSON")
    return reader.finish()


def wanted(case: str = "") -> DesiredPlugin:
    digest = (RECORDED / case / "digest.txt").read_text().strip() if case else "a" * 64
    return DesiredPlugin("apps", "header", digest, CONFIG, "FAIL_CLOSE")


def seen(case: str) -> PodObservation:
    return observe_pod(POD, BEGINNING, documents(case), wanted(case), BEGINNING)


def changed(case: str, since: datetime = BEGINNING, **parts: object) -> PodObservation:
    if isinstance(text := parts.get("listeners"), str):
        parts["listeners"] = listeners(text)
    return observe_pod(POD, BEGINNING, replace(documents(case), **parts), wanted(case), since)  # type: ignore[arg-type]
