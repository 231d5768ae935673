"""The first plugin on two gateways would kill Envoy while it is loaded.

A log call at the top level of an AssemblyScript module is enough: Envoy dies of a segmentation fault, its container is
started again, takes the same configuration, and dies again. With a release no gateway ever sees it.
"""

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.first(IncidentPlugin(run.push(wasm_modules.kills_at_load())))


INCIDENT = Incident(
    shows=Shows("every gateway crash-loops, with exit code 0", seen=lambda run: min(run.restarts()) >= 2),
    says=Says("StartCallsHost", "Refused"),
    right=frozenset({"-"}),
    story=story,
    gateways=2,
)
