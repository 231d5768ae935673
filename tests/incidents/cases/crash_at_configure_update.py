"""A good plugin is updated to one that kills Envoy while it is configured.

With bare Istio every gateway crash-loops for good, and takes no request. With a release the good plugin is put back as
soon as the first gateway has died, so that the containers start again with that.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=run.push(wasm_modules.aborts_at_configure()))
    run.await_back("GatewayCrashed", "RolledBack", "v1")


INCIDENT = Incident(
    shows=Shows("every gateway crash-loops, with exit code 0", seen=lambda run: min(run.restarts()) >= 2),
    says=Says("GatewayCrashed", "RolledBack", Becomes.RESTORED),
    right=frozenset({"v1"}),
    story=story,
    gateways=2,
)
