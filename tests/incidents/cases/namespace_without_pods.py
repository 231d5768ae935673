"""A plugin is applied to a namespace in which no gateway runs.

A WasmPlugin reaches the pods of its own namespace only. With bare Istio nothing happens, and nothing says so.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    empty = run.allow(f"{run.namespace}-empty", make=True)
    labels = {"istio": run.namespace}
    run.first(IncidentPlugin(run.push(wasm_modules.answering("v1")), namespace=empty, labels=labels))


INCIDENT = Incident(
    shows=Shows("nothing: requests bypass it", answer=(200, "-")),
    says=Says("NoGatewayPods", "Loading", Becomes.WRITTEN),
    right=frozenset({"-"}),
    story=story,
)
