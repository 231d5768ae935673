"""A plugin's selector names a label that no gateway has.

With bare Istio nothing happens, and nothing says so.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.first(IncidentPlugin(run.push(wasm_modules.answering("v1")), labels={"istio": "nobody"}))


INCIDENT = Incident(
    shows=Shows("nothing: requests bypass it", answer=(200, "-")),
    says=Says("NoGatewayPods", "Loading", Becomes.WRITTEN),
    right=frozenset({"-"}),
    story=story,
)
