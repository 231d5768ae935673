"""Every gateway crash-loops of an update, and the registry that has the old image is gone; somebody pulls the switch.

With bare Istio there is nothing to go back to that gateways could fetch: whoever deletes the WasmPlugin by hand ends
the outage, and GitOps brings it back. With a release `off` takes the plugin away at once, and nothing brings it back.
"""

from pluginrelease import api
from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import NAME, IncidentPlugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    registry = run.registry()
    run.deploy(IncidentPlugin(registry.push(wasm_modules.answering("v1"), "v1")))
    update = run.push(wasm_modules.aborts_at_configure())
    registry.stop()
    run.change(image=update)
    if not run.is_bare:
        run.until("a gateway has crashed", lambda: max(run.restarts(), default=0) > 0)
        off = f"{api.OFF_ANNOTATION}=1: gateways crash"
        run.lab.kubectl("annotate", api.PLURAL, NAME, "-n", run.home, off)
    run.await_back("SwitchedOff", "Off", "-")


INCIDENT = Incident(
    shows=Shows("every gateway crash-loops, with exit code 0", seen=lambda run: min(run.restarts()) >= 2),
    says=Says("SwitchedOff", "Off", Becomes.REMOVED),
    right=frozenset({"v1", "-"}),
    story=story,
    gateways=2,
)
