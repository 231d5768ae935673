"""The same plugin is applied a second time to the same gateways, under another name.

Two teams, or an old name that was forgotten. With bare Istio every request goes through it twice, and nothing says so.
"""

import http.client

from tests.incidents.book import Incident, Says, Shows
from tests.incidents.stage import Stage

TWIN = "twin"


def story(stage: Stage) -> None:
    stage.run_good()
    assert stage.plugin is not None
    stage.begin()
    stage.asked, stage.before = TWIN, None
    stage.apply(stage.manifest(stage.plugin, TWIN))
    if stage.is_bare:
        stage.until("a request goes through it twice", lambda: passes(stage) == 2)


def passes(stage: Stage) -> int:
    """Through how many plugins one request goes."""
    [gateway] = stage.gateways()
    connection = http.client.HTTPConnection(stage.lab.proxy.removeprefix("http://"), timeout=5.0)
    connection.set_tunnel(gateway.address, 8080)
    connection.request("GET", "/")
    return len(connection.getresponse().headers.get_all("x-plugin") or [])


INCIDENT = Incident(
    shows=Shows("nothing: every request goes through it twice", answer=(200, "v1")),
    says=Says("DuplicatePlugin", "Refused"),
    right=frozenset({"v1"}),
    story=story,
)
