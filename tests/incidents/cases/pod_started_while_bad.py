"""A bad update, of which nothing is to be seen; some time later the gateway is scaled up.

With bare Istio the old pod goes on with the old code, and the new one answers 500 to everyone.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.run import IncidentRun

TRAP = "Function: proxy_on_vm_start failed"
SAYS = Says("PluginRejected", "RolledBack", Becomes.RESTORED)


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=run.push(wasm_modules.traps_at_start()))
    if run.is_bare:
        run.until("the plugin is refused", lambda: TRAP in run.logs())
    else:
        run.await_said(SAYS.reason, SAYS.phase)
    run.scale(2)


INCIDENT = Incident(
    shows=Shows("the new pod answers 500 to everyone", log=TRAP, answer=(500, "-")),
    says=SAYS,
    right=frozenset({"v1"}),
    story=story,
)
