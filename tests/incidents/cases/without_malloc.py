"""A good plugin is updated to one in which the gateway cannot allocate memory.

A module that was linked without its SDK's exports is such a one. With bare Istio nothing but a line in the gateway's
log shows it.
"""

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=run.push(wasm_modules.without_allocator()))


INCIDENT = Incident(
    shows=Shows(
        "nothing: the old code serves, and listeners are stuck", log="missing malloc function", answer=(200, "v1")
    ),
    says=Says("MissingAllocator", "Refused"),
    right=frozenset({"v1"}),
    story=story,
)
