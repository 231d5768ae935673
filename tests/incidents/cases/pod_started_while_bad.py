"""A bad update, of which nothing is to be seen; some time later the gateway is scaled up.

With bare Istio the old pod goes on with the old code, and the new one answers 500 to everyone.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.stage import Stage

TRAP = "Function: proxy_on_vm_start failed"
SAYS = Says("PluginRejected", "RolledBack", Becomes.RESTORED)


def story(stage: Stage) -> None:
    stage.run_good()
    stage.change(image=stage.push(wasm_modules.traps_at_start()))
    if stage.is_bare:
        stage.until("the plugin is refused", lambda: TRAP in stage.logs())
    else:
        stage.await_said(SAYS.reason, SAYS.phase)
    stage.scale(2)


INCIDENT = Incident(
    shows=Shows("the new pod answers 500 to everyone", log=TRAP, answer=(500, "-")),
    says=SAYS,
    right=frozenset({"v1"}),
    story=story,
)
