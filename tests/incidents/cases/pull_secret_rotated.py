"""The registry's password is changed, the pull secret with it, and then a new gateway pod starts.

The pods that run keep what they have. The new one must fetch with the new password; a rotated password is no new
revision, and no gateway that runs loads anything anew.
"""

from pluginrelease_lab.registries import REALM
from tests import wasm_modules
from tests.harness.registries import ANY_USER
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    registry = run.registry()
    image = registry.push(wasm_modules.answering("v1"), "v1")
    registry.stop()
    registry.realm = REALM
    registry.start()
    run.secret("keys", run.lab.private_credentials, registry.host)
    run.deploy(IncidentPlugin(image, secret="keys"))

    run.begin()
    _, password = run.lab.private_credentials
    (registry.folder / "htpasswd").write_text(f"rotated:{ANY_USER}\n")
    run.secret("keys", ("rotated", password), registry.host)
    run.scale(2)


INCIDENT = Incident(
    shows=Shows("nothing, and all is well", answer=(200, "v1")),
    says=Says("Loaded", "Ready"),
    right=frozenset({"v1"}),
    story=story,
)
