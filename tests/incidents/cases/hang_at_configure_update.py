"""A good plugin is updated to one that never returns from proxy_on_configure.

The old code goes on serving, with the endpoints of before. With bare Istio nothing shows it. With a release the good
plugin is put back, the release says which gateways hang, and one that is started again is well.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.stage import Stage


def story(stage: Stage) -> None:
    stage.run_good(checks={"load": {"timeout": "20s"}})
    stage.change(image=stage.push(wasm_modules.hangs_at_configure()))


INCIDENT = Incident(
    shows=Shows("nothing: the old code serves, and the gateway takes no configuration", seen=Stage.is_silent),
    says=Says("GatewayUnresponsive", "RollbackFailed", Becomes.RESTORED),
    right=frozenset({"v1"}),
    story=story,
    gateways=2,
)
