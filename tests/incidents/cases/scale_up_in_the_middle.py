"""While an update is on its way, the gateways are scaled up.

A pod that comes up is no failure, and one that has the old revision for a moment is none either.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=run.push(wasm_modules.answering("v2")))
    run.scale(3)
    run.await_served("v2")


INCIDENT = Incident(
    shows=Shows("nothing, and all is well", answer=(200, "v2")),
    says=Says("Loaded", "Ready", Becomes.WRITTEN),
    right=frozenset({"v1", "v2"}),
    story=story,
)
