"""An update is applied while the registry is down.

With bare Istio the working plugin is replaced by a filter that denies everything, and the agent does not try again when
the registry is back.
"""

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.stage import Plugin, Stage


def story(stage: Stage) -> None:
    registry = stage.registry()
    stage.run(Plugin(registry.push(wasm_modules.answering("v1"), "v1")))
    update = registry.push(wasm_modules.answering("v2"), "v2")
    registry.stop()
    stage.change(image=update)


INCIDENT = Incident(
    shows=Shows("403 to everyone", log="connection refused", answer=(403, "-")),
    says=Says("RegistryUnavailable", "Retrying"),
    right=frozenset({"v1"}),
    story=story,
)
