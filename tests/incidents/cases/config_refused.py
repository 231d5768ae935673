"""A good plugin is given a configuration that it refuses when it starts.

The most common of all failures, and no check beforehand can see it. With bare Istio the configuration dump shows the
new configuration, the old one goes on serving, and a pod that starts answers 500.
"""

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy(IncidentPlugin(run.push(wasm_modules.answering("v1", refuses_configuration=True))))
    run.change(config={"fail": True})


INCIDENT = Incident(
    shows=Shows(
        "nothing: the old code serves, and listeners are stuck",
        log="Failed to configure base Wasm plugin",
        answer=(200, "v1"),
    ),
    says=Says("PluginRejected", "RolledBack", Becomes.RESTORED),
    right=frozenset({"v1"}),
    story=story,
)
