"""A good plugin is updated to one that exports a callback with another type than Envoy calls it with.

With bare Istio nothing but a line in the gateway's log shows it.
"""

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=run.push(wasm_modules.allocator_of_another_type()))


INCIDENT = Incident(
    shows=Shows(
        "nothing: the old code serves, and listeners are stuck",
        log="Bad function signature for: proxy_on_memory_allocate",
        answer=(200, "v1"),
    ),
    says=Says("ExportTypeMismatch", "Refused"),
    right=frozenset({"v1"}),
    story=story,
)
