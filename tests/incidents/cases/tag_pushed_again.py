"""Another plugin is pushed under the tag that runs, and then a new gateway pod starts.

With bare Istio the fleet is mixed from then on: old pods run the old bytes and new ones the new. A release has written
the digest.
"""

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun

TAG = "plugin:1.0"


def story(run: IncidentRun) -> None:
    run.deploy(IncidentPlugin(run.push(wasm_modules.answering("v1"), TAG)))
    run.begin()
    run.push(wasm_modules.answering("v2"), TAG)
    run.scale(2)


INCIDENT = Incident(
    shows=Shows("nothing: one pod runs the old plugin, one the new", answer=(200, "v2")),
    says=Says("Loaded", "Ready"),
    right=frozenset({"v1"}),
    story=story,
)
