"""A good plugin is updated to one that imports a function of Envoy's with another type than Envoy's.

So it is with an SDK for another ABI than the module announces. With bare Istio nothing but a line in the gateway's log
shows it.
"""

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=run.push(wasm_modules.plugin(imports=[("env", "proxy_log")])))


INCIDENT = Incident(
    shows=Shows(
        "nothing: the old code serves, and listeners are stuck",
        log="due to an import type mismatch",
        answer=(200, "v1"),
    ),
    says=Says("ImportTypeMismatch", "Refused"),
    right=frozenset({"v1"}),
    story=story,
)
