"""The first plugin on a gateway is one that traps when it starts.

With bare Istio the gateway answers 500 to every request from then on. With a release the plugin is taken off again;
what is lost is what the gateway answers until it was seen.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.first(IncidentPlugin(run.push(wasm_modules.traps_at_start())))


INCIDENT = Incident(
    shows=Shows("500 to everyone", log="Function: proxy_on_vm_start failed", answer=(500, "-")),
    says=Says("PluginRejected", "Removed", Becomes.REMOVED),
    right=frozenset({"-"}),
    story=story,
)
