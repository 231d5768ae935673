"""An update comes to the gateways of two namespaces, and those of one refuse it: they lack what the plugin needs.

With bare Istio the one runs the new code and the other the old, whose listeners are stuck, and nothing says so. With a
release both get the old revision back.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import BOTH, HERE, THERE
from tests.incidents.run import IncidentRun

SAYS = Says("PluginRejected", "RolledBack", Becomes.RESTORED)


def story(run: IncidentRun) -> None:
    run.deploy_good(entries=BOTH)
    run.change(image=run.push(wasm_modules.licensed("v2")))
    if not run.is_bare:
        run.await_said(SAYS.reason, SAYS.phase)
        run.until("both are put back", lambda: run.is_as_before(*BOTH))
        run.await_served("v1")


INCIDENT = Incident(
    shows=Shows(
        "nothing: one gateway runs the new code, one the old, and its listeners are stuck",
        log="Failed to configure base Wasm plugin",
        seen=lambda run: run.answered(HERE) == {(200, "v2")} and run.answered(THERE) == {(200, "v1")},
    ),
    says=SAYS,
    right=frozenset({"v1", "v2"}),
    story=story,
    elsewhere=1,
)
