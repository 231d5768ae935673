"""The first plugin on two gateways never returns from proxy_on_configure.

Envoy's main thread hangs: requests go on, new configuration, endpoints and certificates are taken no more, and for
Kubernetes the pod stays ready. With bare Istio nothing shows it. With a release the plugin is removed, and the
gateways, which take nothing any more, are started again one after the other.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.first(IncidentPlugin(run.push(wasm_modules.hangs_at_configure()), checks={"load": {"timeout": "20s"}}))
    run.await_answering("GatewayUnresponsive", "Removed")


INCIDENT = Incident(
    shows=Shows("nothing: the pod is ready, and takes no configuration", answer=(200, "-"), seen=IncidentRun.is_silent),
    says=Says("GatewayUnresponsive", "Removed", Becomes.REMOVED),
    right=frozenset({"-"}),
    story=story,
    gateways=2,
    because="a gateway that hangs takes nothing until it is started again, while the other one serves",
)
