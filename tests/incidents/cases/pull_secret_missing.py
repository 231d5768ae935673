"""An update moves to a private registry, and the pull secret that it names was not created.

With bare Istio the working plugin is replaced by a filter that denies everything.
"""

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=run.push_private(wasm_modules.answering("v2")), secret="keys")


INCIDENT = Incident(
    shows=Shows("403 to everyone", log="missing image pulling secret", answer=(403, "-")),
    says=Says("PullSecretNotFound", "Waiting"),
    right=frozenset({"v1"}),
    story=story,
)
