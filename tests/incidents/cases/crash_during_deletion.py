"""An update kills Envoy, and somebody deletes everything while the gateways crash.

With bare Istio that is the way out. With a release the plugin must go as fast: a clean-up that waited for gateways that
cannot answer would leave the killer there.
"""

from pluginrelease import api
from pluginrelease.core.mesh import istio
from tests import wasm_modules
from tests.incidents.book import GONE, Becomes, Incident, Says, Shows
from tests.incidents.plugins import NAME
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=run.push(wasm_modules.aborts_at_configure()))
    run.until("a gateway has crashed", lambda: max(run.restarts()) >= 1)
    kind = istio.TARGET.plural if run.is_bare else api.PLURAL
    run.lab.kubectl("delete", kind, NAME, "-n", run.namespace, "--wait=false")
    run.until("the gateways are ready again", lambda: len(run.gateways()) == run.incident.gateways)
    run.await_served("-")


INCIDENT = Incident(
    shows=Shows("the plugin goes", answer=(200, "-")),
    says=Says("-", GONE, Becomes.REMOVED),
    right=frozenset({"v1", "-"}),
    story=story,
    gateways=2,
    because="a gateway that was starting when the plugin went may start once more",
)
