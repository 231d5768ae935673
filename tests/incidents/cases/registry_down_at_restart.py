"""One of two gateway pods is replaced while the registry is down; then the registry comes back.

The new pod cannot fetch the plugin and answers 403 to everyone. Istio's agent does not try again by itself: with bare
Istio it stays so. With a release the pod is made to fetch anew once the registry gives the image out again.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.stage import Plugin, Stage


def story(stage: Stage) -> None:
    registry = stage.registry()
    stage.run(Plugin(registry.push(wasm_modules.answering("v1"), "v1")))
    registry.stop()
    stage.begin()
    stage.replace_one()
    stage.until("the new pod has its stand-in", lambda: stage.answered() == {(200, "v1"), (403, "-")})
    if stage.is_bare:
        stage.await_quiet()  # a push that comes later would make the agent try again
    else:
        stage.await_said("FetchFailed", "Unhealthy")
    registry.start()


INCIDENT = Incident(
    shows=Shows("the new pod answers 403 to everyone, for good", log="connection refused", answer=(403, "-")),
    says=Says("Loaded", "Ready", Becomes.WRITTEN),
    right=frozenset({"v1"}),
    story=story,
    gateways=2,
)
