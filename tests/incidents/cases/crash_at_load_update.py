"""A good plugin is updated to one that would kill Envoy while it is loaded.

With bare Istio every gateway crash-loops for good, and takes no request. With a release the module is refused before
any gateway sees it, and the good plugin goes on serving.
"""

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=run.push(wasm_modules.kills_at_load()))


INCIDENT = Incident(
    shows=Shows("every gateway crash-loops, with exit code 0", seen=lambda run: min(run.restarts()) >= 2),
    says=Says("StartCallsHost", "Refused"),
    right=frozenset({"v1"}),
    story=story,
    gateways=2,
)
