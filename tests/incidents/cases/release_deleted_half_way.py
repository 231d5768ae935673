"""An update is applied, and while it is on its way everything is deleted.

What was written must go, whatever was under way, and nothing may come back.
"""

from pluginrelease import api
from pluginrelease.core.mesh import istio
from tests import wasm_modules
from tests.incidents.book import GONE, Becomes, Incident, Says, Shows
from tests.incidents.plugins import NAME
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good()
    update = run.push(wasm_modules.answering("v2"))
    run.change(image=update)
    if not run.is_bare:
        run.until("the update is written", lambda: run.is_written())
    kind = istio.TARGET.plural if run.is_bare else api.PLURAL
    run.lab.kubectl("delete", kind, NAME, "-n", run.namespace, "--wait=false")
    run.await_served("-")


INCIDENT = Incident(
    shows=Shows("the plugin goes", answer=(200, "-")),
    says=Says("-", GONE, Becomes.REMOVED),
    right=frozenset({"v1", "v2", "-"}),
    story=story,
)
