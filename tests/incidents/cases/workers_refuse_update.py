"""A plugin that can be configured once in a VM is given another configuration.

Envoy tries that in a VM of its own, logs that it created the plugin, and its workers refuse it: with bare Istio every
request passes without the plugin from then on, FAIL_CLOSE or not, and taking the change back does not help, as Envoy
refuses every configuration of these bytes. With a release the change is put back, and the gateways are started again
with it, one after the other.
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
    gateways=2,
    because="only a restart of Envoy helps, in which one of two gateways does not answer",
)
