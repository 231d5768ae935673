"""A good plugin is updated to one that imports a function which these gateways do not have.

So it is with every SDK or compiler that is newer than the gateway. With bare Istio nothing but a line in the gateway's
log shows it.
"""

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=run.push(wasm_modules.missing_import()))


INCIDENT = Incident(
    shows=Shows(
        "nothing: the old code serves, and listeners are stuck", log="due to a missing import", answer=(200, "v1")
    ),
    says=Says("MissingHostFunction", "Refused"),
    right=frozenset({"v1"}),
    story=story,
)
