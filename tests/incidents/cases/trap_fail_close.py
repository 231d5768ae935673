"""An update runs well until a request comes at which it traps. failStrategy: FAIL_CLOSE.

The worker that the request came to answers 503 to everything from then on, until the configuration changes or the pod
restarts. With bare Istio a line in the gateway's log shows it, and which plugin it was is not told there.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.stage import Stage


def story(stage: Stage) -> None:
    stage.run_good(fail_strategy="FAIL_CLOSE")
    stage.change(image=stage.push(wasm_modules.answering_until_trapped("v2")))
    stage.await_served("v2")
    stage.poison()


INCIDENT = Incident(
    shows=Shows("503 from one worker, for good", log="Function: proxy_on_request_headers failed", answer=(503, "-")),
    says=Says("PluginCrashed", "Unhealthy", Becomes.WRITTEN),
    right=frozenset({"v1", "v2"}),
    story=story,
    because="no gateway mends a dead worker, and after Ready nothing is put back",
)
