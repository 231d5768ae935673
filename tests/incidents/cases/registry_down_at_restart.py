"""One of two gateway pods is replaced while the registry is down; then the registry comes back.

The new pod cannot fetch the plugin and answers 403 to everyone. Istio's agent does not try again by itself: with bare
Istio it stays so. With a release the pod is made to fetch anew once the registry gives the image out again.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    registry = run.registry()
    run.deploy(IncidentPlugin(registry.push(wasm_modules.answering("v1"), "v1")))
    registry.stop()
    run.begin()
    run.replace_one()
    run.until("the new pod has its stand-in", lambda: run.answered() == {(200, "v1"), (403, "-")})
    if run.is_bare:
        run.await_quiet()  # a push that comes later would make the agent try again
    else:
        run.await_said("FetchFailed", "Unhealthy")
    registry.start()


INCIDENT = Incident(
    shows=Shows("the new pod answers 403 to everyone, for good", log="connection refused", answer=(403, "-")),
    says=Says("Loaded", "Ready", Becomes.RESTORED),
    right=frozenset({"v1"}),
    story=story,
    gateways=2,
)
