"""A good plugin is updated to one with which everything is right until a gateway starts it: then it traps.

With bare Istio nothing but lines in the gateway's log shows it; the old code goes on serving, and a pod that starts
answers 500.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=run.push(wasm_modules.traps_at_start()))


INCIDENT = Incident(
    shows=Shows(
        "nothing: the old code serves, and listeners are stuck",
        log="Function: proxy_on_vm_start failed",
        answer=(200, "v1"),
    ),
    says=Says("PluginRejected", "RolledBack", Becomes.RESTORED),
    right=frozenset({"v1"}),
    story=story,
)
