"""An update runs well until a request comes at which it traps. failStrategy: FAIL_OPEN.

The worker that the request came to lets everything pass without the plugin from then on. With bare Istio a line in the
gateway's log shows it. With a release
the old revision is put back, as the update ran everywhere only a moment ago.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good(fail_strategy="FAIL_OPEN")
    run.change(image=run.push(wasm_modules.answering_until_trapped("v2")))
    run.await_served("v2")
    run.poison()


INCIDENT = Incident(
    shows=Shows("one worker lets everything pass", log="Function: proxy_on_request_headers failed", answer=(200, "-")),
    says=Says("RunningUnprotected", "RolledBack", Becomes.RESTORED),
    right=frozenset({"v1", "v2"}),
    story=story,
    because="a trap is looked for every 15 s, and which requests the dead worker gets until then is chance",
)
