"""The same plugin is applied a second time to the same gateways, under another name.

Two teams, or an old name that was forgotten. With bare Istio every request goes through it twice, and nothing says so.
"""

import http.client

from tests.incidents.book import Incident, Says, Shows
from tests.incidents.run import IncidentRun

TWIN = "twin"


def story(run: IncidentRun) -> None:
    run.deploy_good()
    assert run.plugin is not None
    run.begin()
    run.asked = TWIN
    run.before.clear()
    run.apply(*run.manifests(run.plugin, TWIN))
    if run.is_bare:
        run.until("a request goes through it twice", lambda: passes(run) == 2)


def passes(run: IncidentRun) -> int:
    """Through how many plugins one request goes."""
    [gateway] = run.gateways()
    connection = http.client.HTTPConnection(run.lab.proxy.removeprefix("http://"), timeout=5.0)
    connection.set_tunnel(gateway.address, 8080)
    connection.request("GET", "/")
    return len(connection.getresponse().headers.get_all("x-plugin") or [])


INCIDENT = Incident(
    shows=Shows("nothing: every request goes through it twice", answer=(200, "v1")),
    says=Says("DuplicatePlugin", "Refused"),
    right=frozenset({"v1"}),
    story=story,
)
