"""A good plugin is updated to one that kills Envoy while it is configured.

With bare Istio every gateway crash-loops for good, and takes no request. With a release the good plugin is put back as
soon as the first gateway has died, so that the containers start again with that.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.stage import Stage


def story(stage: Stage) -> None:
    stage.run_good()
    stage.change(image=stage.push(wasm_modules.aborts_at_configure()))
    stage.await_back("GatewayCrashed", "RolledBack", "v1")


INCIDENT = Incident(
    shows=Shows("every gateway crash-loops, with exit code 0", seen=lambda stage: min(stage.restarts()) >= 2),
    says=Says("GatewayCrashed", "RolledBack", Becomes.RESTORED),
    right=frozenset({"v1"}),
    story=story,
    gateways=2,
)
