"""A bad update; and the image of what ran before was deleted from the registry meanwhile.

Gateways that refused the update still run the old code. Told to load it anew, they would answer 403 to everyone:
they are left alone, and that is said.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    registry = run.registry()
    run.deploy(IncidentPlugin(registry.push(wasm_modules.answering("v1"), "v1")))
    update = registry.push(wasm_modules.traps_at_start(), "v2")
    registry.forget("spare/v1")
    run.change(image=update)


INCIDENT = Incident(
    shows=Shows(
        "nothing: the old code serves, and listeners are stuck",
        log="Function: proxy_on_vm_start failed",
        answer=(200, "v1"),
    ),
    says=Says("PluginRejected", "RollbackBlocked", Becomes.WRITTEN),
    right=frozenset({"v1"}),
    story=story,
)
