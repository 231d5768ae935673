"""An update runs well on two gateways until requests come at which Envoy aborts.

With bare Istio each such request costs a gateway, for as long as they come. With a release what ran before is put back
after the first crash, although the update was Ready: it ran everywhere only a moment ago.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=run.push(wasm_modules.answering_until_aborted("v2")))
    run.await_served("v2")
    if not run.is_bare:
        run.await_said("Loaded", "Ready")
    run.poison()
    run.await_back("GatewayCrashed", "RolledBack", "v1")
    if run.is_bare:
        run.until("the gateways are ready again", lambda: len(run.gateways()) == 2)
    run.poison()


INCIDENT = Incident(
    shows=Shows("each such request ends a gateway", seen=lambda run: min(run.restarts()) >= 1),
    says=Says("GatewayCrashed", "RolledBack", Becomes.RESTORED),
    right=frozenset({"v1", "v2"}),
    story=story,
    gateways=2,
)
