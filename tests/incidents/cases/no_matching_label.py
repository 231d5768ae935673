"""A plugin's selector names a label that no gateway has.

With bare Istio nothing happens, and nothing says so.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.stage import Plugin, Stage


def story(stage: Stage) -> None:
    stage.first(Plugin(stage.push(wasm_modules.answering("v1")), labels={"istio": "nobody"}))


INCIDENT = Incident(
    shows=Shows("nothing: requests go by it", answer=(200, "-")),
    says=Says("NoGatewayPods", "Loading", Becomes.WRITTEN),
    right=frozenset({"-"}),
    story=story,
)
