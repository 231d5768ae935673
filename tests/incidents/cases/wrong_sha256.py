"""An update comes with a checksum that is not the image's.

Whoever takes the checksum of the .wasm file for what Istio's field ``sha256`` means has done this: it means the digest
of the image's manifest. With bare Istio the working plugin is replaced by a filter that denies everything.
"""

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.run import IncidentRun

WRONG = "ab" * 32


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=run.push(wasm_modules.answering("v2")), sha256=WRONG)


INCIDENT = Incident(
    shows=Shows("403 to everyone", log="does not match", answer=(403, "-")),
    says=Says("WasmMismatch", "Refused"),
    right=frozenset({"v1"}),
    story=story,
)
