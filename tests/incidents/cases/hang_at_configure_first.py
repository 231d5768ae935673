"""The first plugin on two gateways never returns from proxy_on_configure.

Envoy's main thread hangs: requests go on, new configuration, endpoints and certificates are taken no more, and for
Kubernetes the pod stays ready. With bare Istio nothing shows it. With a release the plugin is removed, and the
gateways, which take nothing any more, are started again one after the other.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.stage import Plugin, Stage


def story(stage: Stage) -> None:
    stage.first(Plugin(stage.push(wasm_modules.hangs_at_configure()), checks={"load": {"timeout": "20s"}}))
    stage.await_answering("GatewayUnresponsive", "Removed")


INCIDENT = Incident(
    shows=Shows("nothing: the pod is ready, and takes no configuration", answer=(200, "-"), seen=Stage.is_silent),
    says=Says("GatewayUnresponsive", "Removed", Becomes.REMOVED),
    right=frozenset({"-"}),
    story=story,
    gateways=2,
    because="a gateway that hangs takes nothing until it is started again, while the other one serves",
)
