"""One of two gateways is taken out of what runs the plugin, while requests come.

The plugin goes there, and no request may be lost. The other gateways must notice nothing: no write, no request lost.
"""

from pluginrelease.core.mesh import istio
from tests.harness import evidence
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.plugins import BOTH, HERE, NAME, THERE
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good(entries=BOTH)
    run.spare(HERE, "v1")
    run.change(entries=(HERE,))
    if run.is_bare:
        run.lab.kubectl("delete", istio.TARGET.plural, NAME, "-n", run.namespaces[THERE])
    else:
        run.until("the object of the entry is gone", lambda: run.written(THERE) is None)
        assert evidence.written(run.lab).count((run.namespace, NAME)) == 1
    run.await_served("-", THERE)


INCIDENT = Incident(
    shows=Shows("the plugin goes there", answer=(200, "-")),
    says=Says("Loaded", "Ready"),
    right=frozenset({"v1", "-"}),
    story=story,
    elsewhere=1,
)
