"""The only gateway's workers refuse another configuration of a plugin that can be configured once in a VM.

No other gateway would serve while this one is started again, and no revision of other bytes is kept. So the plugin is
off until the old listener has drained and Envoy has forgotten the machine that failed; then the stable revision loads.
Requests pass without the plugin meanwhile, as they do with bare Istio for good.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy(IncidentPlugin(run.push(wasm_modules.configured_once("v1")), config={"try": 1}))
    run.change(config={"try": 2})
    run.await_back("PluginRefusedByWorkers", "RolledBack", "v1")


INCIDENT = Incident(
    shows=Shows(
        "nothing: requests bypass the plugin", log="Failed to configure thread-local Wasm plugin", answer=(200, "-")
    ),
    says=Says("PluginRefusedByWorkers", "RolledBack", Becomes.RESTORED),
    right=frozenset({"v1"}),
    story=story,
)
