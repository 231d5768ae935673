"""A plugin is applied to a namespace in which no gateway runs.

A WasmPlugin reaches the pods of its own namespace only. With bare Istio nothing happens, and nothing says so.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.stage import Plugin, Stage


def story(stage: Stage) -> None:
    empty = stage.allow(f"{stage.namespace}-empty", make=True)
    labels = {"istio": stage.namespace}
    stage.first(Plugin(stage.push(wasm_modules.answering("v1")), namespace=empty, labels=labels))


INCIDENT = Incident(
    shows=Shows("nothing: requests go by it", answer=(200, "-")),
    says=Says("NoGatewayPods", "Loading", Becomes.WRITTEN),
    right=frozenset({"-"}),
    story=story,
)
