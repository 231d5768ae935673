"""An update moves to a private registry, and the password in the pull secret is wrong.

With bare Istio the working plugin is replaced by a filter that denies everything.
"""

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good()
    user, _ = run.lab.private_credentials
    run.secret("keys", (user, "wrong"))
    run.change(image=run.push_private(wasm_modules.answering("v2")), secret="keys")


INCIDENT = Incident(
    shows=Shows("403 to everyone", log="UNAUTHORIZED", answer=(403, "-")),
    says=Says("AuthenticationFailed", "Refused"),
    right=frozenset({"v1"}),
    story=story,
)
