"""An update runs well until a request comes at which it traps. failStrategy: FAIL_RELOAD.

The worker that the request came to answers 503 to it, and starts the plugin again. With a release the old revision is
put back, as the update ran everywhere only a moment ago.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good(fail_strategy="FAIL_RELOAD")
    run.change(image=run.push(wasm_modules.answering_until_trapped("v2")))
    run.await_served("v2")
    run.poison()


INCIDENT = Incident(
    shows=Shows("503 to that request; the plugin is started again", log="Function: proxy_on_request_headers failed"),
    says=Says("PluginCrashed", "RolledBack", Becomes.RESTORED),
    right=frozenset({"v1", "v2"}),
    story=story,
)
