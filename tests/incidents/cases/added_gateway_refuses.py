"""A plugin runs, and a second namespace's gateways are to run it too: they refuse it.

With bare Istio they answer 500 to everyone. With a release the plugin is taken off them. In both cases the gateways
that run it already must notice nothing: no write, no request lost.
"""

from tests import wasm_modules
from tests.harness import evidence
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import BOTH, HERE, NAME, THERE, IncidentPlugin
from tests.incidents.run import IncidentRun

SAYS = Says("PluginRejected", "Removed", Becomes.UNTOUCHED)


def story(run: IncidentRun) -> None:
    run.deploy(IncidentPlugin(run.push(wasm_modules.licensed("v1"))))
    run.spare(HERE, "v1")
    run.change(entries=BOTH)
    if not run.is_bare:
        run.await_said(SAYS.reason, SAYS.phase)
        run.await_served("-", THERE)
        assert evidence.written(run.lab).count((run.namespace, NAME)) == 1


INCIDENT = Incident(
    shows=Shows(
        "500 to everyone at the new gateways",
        log="Failed to configure base Wasm plugin",
        answer=(500, "-"),
    ),
    says=SAYS,
    right=frozenset({"v1", "-"}),
    story=story,
    elsewhere=1,
)
