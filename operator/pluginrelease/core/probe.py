"""PROVISIONAL, so that the tree imports: the helper `probes` replaces this file whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pluginrelease.core.envoy import PodRef


@dataclass(frozen=True)
class PodProbe:
    pod: PodRef
    probe: str
    ok: bool
    asked: int
    failed: int
    message: str


def told(answers: Sequence[PodProbe]) -> str:
    return "; ".join(f"{one.pod.name}: {one.probe}: {one.message}" for one in answers if not one.ok)[:1024]
