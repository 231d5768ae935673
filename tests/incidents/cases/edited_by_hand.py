"""Somebody changes the WasmPlugin by hand, so that it selects no gateway any more.

With bare Istio requests go by the plugin from then on, and nothing says so.
"""

from pluginrelease.core.mesh import istio
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.stage import NAME, Stage

PATCH = '{"spec": {"selector": {"matchLabels": {"istio": "nobody"}}}}'


def story(stage: Stage) -> None:
    stage.run_good()
    stage.begin()
    stage.lab.kubectl("patch", istio.TARGET.plural, NAME, "-n", stage.namespace, "--type=merge", "-p", PATCH)
    if not stage.is_bare:
        stage.await_event("DriftCorrected")


INCIDENT = Incident(
    shows=Shows("nothing: requests go by the plugin", answer=(200, "-")),
    says=Says("Loaded", "Ready", Becomes.RESTORED),
    right=frozenset({"v1"}),
    story=story,
)
