"""A registry's clean-up deletes the image that runs; some time later a gateway pod is replaced.

With bare Istio nothing is to be seen until then, and the new pod answers 403 to everyone. A release says `ManifestGone`
while all is still well, so that somebody pushes the image again before a pod needs it.
"""

from tests import wasm_modules
from tests.harness.cluster import conditions
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    registry = run.registry()
    module = wasm_modules.answering("v1")
    run.deploy(IncidentPlugin(registry.push(module, "v1")))
    registry.forget("spare/v1")
    run.begin()
    if not run.is_bare:
        run.until("the release warns", lambda: artifact_reason(run) == "ManifestGone")
        registry.push(module, "v1")
        run.until("the warning goes", lambda: artifact_reason(run) == "ArtifactReady")
    run.replace_one()


def artifact_reason(run: IncidentRun) -> str:
    """What the release says of its image."""
    return str(conditions(run.cluster.release(run.asked, run.home))["ArtifactReady"]["reason"])


INCIDENT = Incident(
    shows=Shows("the new pod answers 403 to everyone", answer=(403, "-")),
    says=Says("Loaded", "Ready"),
    right=frozenset({"v1"}),
    story=story,
    gateways=2,
)
