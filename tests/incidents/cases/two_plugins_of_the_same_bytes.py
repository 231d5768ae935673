"""Two plugins of one gateway have the same bytes, and a request comes at which the other one traps.

Envoy runs plugins of the same bytes in one machine, so both are dead in that worker. Ours is the one that did nothing;
it was released a moment ago, and nothing ran before it, so it is taken off.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin, wasm_plugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    image = run.push(wasm_modules.answering_until_trapped("v1"))
    theirs = IncidentPlugin(image, config={"whose": "theirs"}, priority=9)
    run.apply(wasm_plugin(theirs, "theirs", *run.places(theirs)))
    run.await_served("v1")
    run.deploy(IncidentPlugin(image, config={"whose": "ours"}, priority=1))
    run.begin()
    run.poison()


INCIDENT = Incident(
    shows=Shows("503 from one worker, for good", log="Function: proxy_on_request_headers failed", answer=(503, "-")),
    says=Says("PluginCrashed", "Removed", Becomes.REMOVED),
    right=frozenset({"v1"}),
    story=story,
    because="no gateway mends a dead worker, and theirs runs in the same one",
)
