"""A plugin in Istio's root namespace is updated: it reaches the selected gateways of every namespace.

Whoever looks for its gateways in its own namespace finds none. All is well here, and that is what must be said.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.stage import NAME, Plugin, Stage

ROOT = "istio-system"


def story(stage: Stage) -> None:
    stage.allow(ROOT)
    if stage.is_bare:
        stage.closing.callback(stage.lab.kubectl, "delete", "wasmplugin", NAME, "-n", ROOT)
    stage.run(Plugin(stage.push(wasm_modules.answering("v1")), namespace=ROOT))
    stage.change(image=stage.push(wasm_modules.answering("v2")))


INCIDENT = Incident(
    shows=Shows("nothing, and all is well", answer=(200, "v2")),
    says=Says("Loaded", "Ready", Becomes.WRITTEN),
    right=frozenset({"v1", "v2"}),
    story=story,
)
