"""Two plugins of one gateway have the same bytes, and a request comes at which the other one traps.

Envoy runs plugins of the same bytes in one machine, so both are dead in that worker. Ours is the one that did nothing.
"""

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.stage import Plugin, Stage, wasm_plugin


def story(stage: Stage) -> None:
    image = stage.push(wasm_modules.answering_until_trapped("v1"))
    theirs = Plugin(image, config={"whose": "theirs"}, priority=9)
    stage.apply(wasm_plugin(theirs, "theirs", stage.namespace, {"istio": stage.namespace}))
    stage.await_served("v1")
    stage.run(Plugin(image, config={"whose": "ours"}, priority=1))
    stage.begin()
    stage.poison()


INCIDENT = Incident(
    shows=Shows("503 from one worker, for good", log="Function: proxy_on_request_headers failed", answer=(503, "-")),
    says=Says("PluginCrashed", "Unhealthy"),
    right=frozenset({"v1"}),
    story=story,
    because="no gateway mends a dead worker, and after Ready nothing is put back",
)
