"""A good plugin is updated to one that was built for another gateway's ABI.

With bare Istio nothing shows it: the old code goes on serving, the configuration dump shows the new file, and from then
on every new listener is refused.
"""

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=run.push(wasm_modules.unknown_abi()))


INCIDENT = Incident(
    shows=Shows(
        "nothing; old code serves, listeners are stuck",
        log="Missing or unknown Proxy-Wasm ABI version",
        answer=(200, "v1"),
    ),
    says=Says("UnknownABI", "Refused"),
    right=frozenset({"v1"}),
    story=story,
)
