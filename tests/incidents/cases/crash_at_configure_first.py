"""The first plugin on two gateways kills Envoy while it is configured.

A gRPC call to a service that the configuration does not name is enough: Envoy aborts, its container is started again,
takes the same configuration, and dies again. Nothing about the module shows it. With bare Istio every gateway is down
for good, and its status shows exit code 0. With a release the plugin is taken off as soon as the first gateway has died
of it.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.first(IncidentPlugin(run.push(wasm_modules.aborts_at_configure())))
    run.await_back("GatewayCrashed", "Removed", "-")


INCIDENT = Incident(
    shows=Shows("every gateway crash-loops, with exit code 0", seen=lambda run: min(run.restarts()) >= 2),
    says=Says("GatewayCrashed", "Removed", Becomes.REMOVED),
    right=frozenset({"-"}),
    story=story,
    gateways=2,
)
