"""An update runs well until a request comes at which it traps. failStrategy: FAIL_OPEN.

The worker that the request came to lets everything pass without the plugin from then on. With bare Istio a line in the
gateway's log shows it.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.stage import Stage


def story(stage: Stage) -> None:
    stage.run_good(fail_strategy="FAIL_OPEN")
    stage.change(image=stage.push(wasm_modules.answering_until_trapped("v2")))
    stage.await_served("v2")
    stage.poison()


INCIDENT = Incident(
    shows=Shows("one worker lets everything pass", log="Function: proxy_on_request_headers failed", answer=(200, "-")),
    says=Says("RunningUnprotected", "Unhealthy", Becomes.WRITTEN),
    right=frozenset({"v1", "v2"}),
    story=story,
    because="no gateway mends a dead worker, and after Ready nothing is put back",
)
