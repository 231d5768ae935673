"""An update to a Go plugin of several megabytes comes to all gateways at once.

Envoy compiles it on its main thread, for many seconds on a busy machine, and answers neither its admin port nor its
probes meanwhile. Nothing is wrong, so nothing may be called wrong, and nothing put back.
"""

from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.run import IncidentRun

PLUGIN = "refuses-config"


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=run.push(run.built(PLUGIN)))
    run.await_served(PLUGIN)


INCIDENT = Incident(
    shows=Shows("nothing, and all is well", answer=(200, PLUGIN)),
    says=Says("Loaded", "Ready", Becomes.WRITTEN),
    right=frozenset({"v1", PLUGIN}),
    story=story,
    gateways=3,
)
