"""A good plugin is updated to one that never returns from proxy_on_configure.

The old code goes on serving, with the endpoints of before. With bare Istio nothing shows it. With a release the good
plugin is put back, and the gateways, which take nothing any more, are started again with it, one after the other.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good(checks={"load": {"timeout": "20s"}})
    run.change(image=run.push(wasm_modules.hangs_at_configure()))


INCIDENT = Incident(
    shows=Shows("nothing: the old code serves, and the gateway takes no configuration", seen=IncidentRun.is_silent),
    says=Says("GatewayUnresponsive", "RolledBack", Becomes.RESTORED),
    right=frozenset({"v1"}),
    story=story,
    gateways=2,
    because="a gateway that hangs takes nothing until it is started again, while the other one serves",
)
