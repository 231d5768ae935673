"""A plugin in Istio's root namespace is updated: it reaches the selected gateways of every namespace.

Whoever looks for its gateways in its own namespace finds none. All is well here, and that is what must be said.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import NAME, IncidentPlugin
from tests.incidents.run import IncidentRun

ROOT = "istio-system"


def story(run: IncidentRun) -> None:
    run.allow(ROOT)
    if run.is_bare:
        run.closing.callback(run.lab.kubectl, "delete", "wasmplugin", NAME, "-n", ROOT)
    run.deploy(IncidentPlugin(run.push(wasm_modules.answering("v1")), namespace=ROOT))
    run.change(image=run.push(wasm_modules.answering("v2")))


INCIDENT = Incident(
    shows=Shows("nothing, and all is well", answer=(200, "v2")),
    says=Says("Loaded", "Ready", Becomes.WRITTEN),
    right=frozenset({"v1", "v2"}),
    story=story,
)
