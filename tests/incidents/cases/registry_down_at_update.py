"""An update is applied while the registry is down.

With bare Istio the working plugin is replaced by a filter that denies everything, and the agent does not try again when
the registry is back.
"""

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    registry = run.registry()
    run.deploy(IncidentPlugin(registry.push(wasm_modules.answering("v1"), "v1")))
    update = registry.push(wasm_modules.answering("v2"), "v2")
    registry.stop()
    run.change(image=update)


INCIDENT = Incident(
    shows=Shows("403 to everyone", log="connection refused", answer=(403, "-")),
    says=Says("RegistryUnavailable", "Retrying"),
    right=frozenset({"v1"}),
    story=story,
)
