"""Somebody goes back to an older configuration of a plugin that can be configured once in a VM.

The way back is an update like any other: the workers refuse the older configuration, and then the newer one as well.
A revision of other bytes ran before, so that runs for a moment, and Envoy takes the stable one after it.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    image = run.push(wasm_modules.configured_once("v1"))
    run.deploy(IncidentPlugin(image, config={"try": 1}))
    first = run.stable()
    run.turn_to(image=run.push(wasm_modules.answering("v2")), says="v2")
    run.turn_to(image=image, config={"try": 2}, says="v1")
    run.go_back_to(first, config={"try": 1})
    run.await_back("PluginRefusedByWorkers", "RolledBack", "v1")


INCIDENT = Incident(
    shows=Shows(
        "nothing: requests bypass the plugin", log="Failed to configure thread-local Wasm plugin", answer=(200, "-")
    ),
    says=Says("PluginRefusedByWorkers", "RolledBack", Becomes.RESTORED),
    right=frozenset({"v1", "v2"}),
    story=story,
)
