"""An update kills Envoy, and the registry is gone by then: not even the good image can be fetched.

The way back asks no registry where a gateway crashes: there is nothing to lose. Containers that start again have lost
what they had fetched, and answer 403 instead of crashing; once the registry is back they are made to fetch anew.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    registry = run.registry()
    run.deploy(IncidentPlugin(registry.push(wasm_modules.answering("v1"), "v1")))
    bad = registry.push(wasm_modules.aborts_at_configure(), "v2")
    run.change(image=bad)
    run.until("a gateway has crashed", lambda: max(run.restarts()) >= 1)
    registry.stop()
    if not run.is_bare:
        run.until("the good image is written again", run.is_as_before)
    registry.start()
    run.await_back("GatewayCrashed", "RolledBack", "v1")


INCIDENT = Incident(
    shows=Shows("every gateway crash-loops, with exit code 0", seen=lambda run: min(run.restarts()) >= 2),
    says=Says("GatewayCrashed", "RolledBack", Becomes.RESTORED),
    right=frozenset({"v1"}),
    story=story,
    gateways=2,
)
