"""Somebody changes the WasmPlugin by hand, so that it selects no gateway any more.

With bare Istio requests bypass the plugin from then on, and nothing says so.
"""

from pluginrelease.core.mesh import istio
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import NAME
from tests.incidents.run import IncidentRun

PATCH = '{"spec": {"selector": {"matchLabels": {"istio": "nobody"}}}}'


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.begin()
    run.lab.kubectl("patch", istio.TARGET.plural, NAME, "-n", run.namespace, "--type=merge", "-p", PATCH)
    if not run.is_bare:
        run.await_event("DriftCorrected")


INCIDENT = Incident(
    shows=Shows("nothing: requests bypass the plugin", answer=(200, "-")),
    says=Says("Loaded", "Ready", Becomes.RESTORED),
    right=frozenset({"v1"}),
    story=story,
)
