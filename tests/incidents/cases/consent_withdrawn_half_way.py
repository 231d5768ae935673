"""A bad update is written to two namespaces, and one takes its consent back before anybody has seen what came of it.

The operator is killed meanwhile. What was written must be put back on both: the way back
needs no consent. Bare Istio knows none: there the update is bad and stays.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import BOTH, THERE
from tests.incidents.run import IncidentRun

SAYS = Says("PluginRejected", "RolledBack", Becomes.RESTORED)


def story(run: IncidentRun) -> None:
    run.deploy_good(entries=BOTH)
    run.change(image=run.push(wasm_modules.traps_at_start()))
    if run.is_bare:
        return
    run.until("the update is written to both", lambda: run.is_written(*BOTH))
    run.operator.kill()
    run.forbid(run.namespaces[THERE])
    run.operator.start()
    run.closing.callback(run.operator.stop)
    run.await_said(SAYS.reason, SAYS.phase)
    run.until("both are put back", lambda: run.is_as_before(*BOTH))
    run.await_served("v1")


INCIDENT = Incident(
    shows=Shows(
        "nothing: the old code serves, and listeners are stuck in both",
        log="Function: proxy_on_vm_start failed",
        answer=(200, "v1"),
    ),
    says=SAYS,
    right=frozenset({"v1"}),
    story=story,
    elsewhere=1,
)
