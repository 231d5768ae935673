"""An update runs well until a request comes at which it traps. failStrategy: FAIL_RELOAD.

The worker that the request came to answers 503 to it, and starts the plugin again.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.stage import Stage


def story(stage: Stage) -> None:
    stage.run_good(fail_strategy="FAIL_RELOAD")
    stage.change(image=stage.push(wasm_modules.answering_until_trapped("v2")))
    stage.await_served("v2")
    stage.poison()


INCIDENT = Incident(
    shows=Shows("503 to that request; the plugin is started again", log="Function: proxy_on_request_headers failed"),
    says=Says("PluginCrashed", "Unhealthy", Becomes.WRITTEN),
    right=frozenset({"v1", "v2"}),
    story=story,
    because="no gateway mends a dead worker, and after Ready nothing is put back",
)
