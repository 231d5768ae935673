"""An update traps at a certain request, and the release has a probe that makes that very request.

With bare Istio one worker after the other dies as such requests come, and answers 503 for good. With a release the
probe is the first such request, and the old revision is put back.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.run import IncidentRun

PROBE = {"name": "odd-request", "headers": {"x-trap": "1"}}


def story(run: IncidentRun) -> None:
    run.deploy_good(checks={"probes": [PROBE]})
    run.change(image=run.push(wasm_modules.answering_until_trapped("v2")))
    if run.is_bare:
        run.await_served("v2")
        run.poison()


INCIDENT = Incident(
    shows=Shows("503 for good", log="Function: proxy_on_request_headers failed", answer=(503, "-")),
    says=Says("PluginCrashed", "RolledBack", Becomes.RESTORED),
    right=frozenset({"v1", "v2"}),
    story=story,
)
