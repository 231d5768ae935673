"""A bad update, of which nothing is to be seen; some time later somebody opens another port of the gateway.

With bare Istio the bad plugin is still what Envoy was last given, so it refuses every new listener that would use it:
the new port is never opened, and nobody thinks of the plugin.
"""

from tests import wasm_modules
from tests.harness import gateways
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.stage import Stage

PORT = 8081
TRAP = "Function: proxy_on_vm_start failed"
SAYS = Says("PluginRejected", "RolledBack", Becomes.RESTORED)


def story(stage: Stage) -> None:
    stage.run_good()
    stage.change(image=stage.push(wasm_modules.traps_at_start()))
    if stage.is_bare:
        stage.until("the plugin is refused", lambda: TRAP in stage.logs())
    else:
        stage.await_said(SAYS.reason, SAYS.phase)
    open_port(stage)
    stage.count(PORT)
    if not stage.is_bare:
        stage.until("the new port answers", lambda: stage.answered(PORT) == {(200, "v1")})


def open_port(stage: Stage) -> None:
    """One more server in the Gateway."""
    [gateway] = [one for one in gateways.manifests(stage.namespace, 1) if one["kind"] == "Gateway"]
    port = {"number": PORT, "name": "http-new", "protocol": "HTTP"}
    gateway["spec"]["servers"].append({"port": port, "hosts": ["*"]})
    stage.apply(gateway)


INCIDENT = Incident(
    shows=Shows("nothing; the new port is never opened", log="Error adding/updating listener(s) 0.0.0.0_8081"),
    says=SAYS,
    right=frozenset({"v1"}),
    story=story,
)
