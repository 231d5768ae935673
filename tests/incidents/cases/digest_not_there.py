"""An update names an image by a digest that the registry does not have.

It was never pushed there, or a clean-up took it. With bare Istio the working plugin is replaced by a filter that denies
everything.
"""

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.run import IncidentRun

NOWHERE = "sha256:" + "ab" * 32


def story(run: IncidentRun) -> None:
    run.deploy_good()
    pushed = run.push(wasm_modules.answering("v2"))
    run.change(image=f"{pushed.rpartition(':')[0]}@{NOWHERE}")


INCIDENT = Incident(
    shows=Shows("403 to everyone", log="could not fetch manifest", answer=(403, "-")),
    says=Says("ManifestNotFound", "Waiting"),
    right=frozenset({"v1"}),
    story=story,
)
