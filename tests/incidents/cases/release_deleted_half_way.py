"""An update is applied, and while it is on its way everything is deleted.

What was written must go, whatever was under way, and nothing may come back.
"""

from pluginrelease import api
from pluginrelease.core.mesh import istio
from tests import wasm_modules
from tests.incidents.book import GONE, Becomes, Incident, Says, Shows
from tests.incidents.stage import NAME, Stage


def story(stage: Stage) -> None:
    stage.run_good()
    update = stage.push(wasm_modules.answering("v2"))
    stage.change(image=update)
    if not stage.is_bare:
        stage.until("the update is written", lambda: stage.written() != stage.before)
    kind = istio.TARGET.plural if stage.is_bare else api.PLURAL
    stage.lab.kubectl("delete", kind, NAME, "-n", stage.namespace, "--wait=false")
    stage.await_served("-")


INCIDENT = Incident(
    shows=Shows("the plugin goes", answer=(200, "-")),
    says=Says("-", GONE, Becomes.REMOVED),
    right=frozenset({"v1", "v2", "-"}),
    story=story,
)
