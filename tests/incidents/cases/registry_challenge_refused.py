"""An update moves to a private registry whose challenge Istio's agent refuses, as its realm is no public https URL.

The password is right, and everybody else gets in. With bare Istio the working plugin is replaced by a filter that
denies everything.
"""

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good()
    registry = run.registry()
    update = registry.push(wasm_modules.answering("v2"), "v2")
    registry.stop()
    registry.realm = "anything"
    registry.start()
    run.secret("keys", run.lab.private_credentials, registry.host)
    run.change(image=update, secret="keys")


INCIDENT = Incident(
    shows=Shows("403 to everyone", log="rejected unsafe bearer realm", answer=(403, "-")),
    says=Says("RegistryChallengeRefused", "Refused"),
    right=frozenset({"v1"}),
    story=story,
)
