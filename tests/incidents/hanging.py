"""Gateways that hang, beside everything else in a lab."""

from __future__ import annotations

from tests.harness import gateways
from tests.incidents.run import IncidentRun


def calm(run: IncidentRun) -> None:
    """What hangs takes no time from the rest of the lab."""
    for pod in run.gateways():
        gateways.calm_busiest_thread(pod)
