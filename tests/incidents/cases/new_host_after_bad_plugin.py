"""A bad update, of which nothing is to be seen; some time later somebody opens another port of the gateway.

With bare Istio the bad plugin is still what Envoy was last given, so it refuses every new listener that would use it:
the new port is never opened, and nobody thinks of the plugin.
"""

from tests import wasm_modules
from tests.harness import gateways
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.run import IncidentRun

PORT = 8081
TRAP = "Function: proxy_on_vm_start failed"
SAYS = Says("PluginRejected", "RolledBack", Becomes.RESTORED)


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=run.push(wasm_modules.traps_at_start()))
    if run.is_bare:
        run.until("the plugin is refused", lambda: TRAP in run.logs())
    else:
        run.await_said(SAYS.reason, SAYS.phase)
    open_port(run)
    run.count(PORT)
    if not run.is_bare:
        run.until("the new port answers", lambda: run.answered(port=PORT) == {(200, "v1")})


def open_port(run: IncidentRun) -> None:
    """One more server in the Gateway."""
    [gateway] = [manifest for manifest in gateways.manifests(run.namespace, 1) if manifest["kind"] == "Gateway"]
    port = {"number": PORT, "name": "http-new", "protocol": "HTTP"}
    gateway["spec"]["servers"].append({"port": port, "hosts": ["*"]})
    run.apply(gateway)


INCIDENT = Incident(
    shows=Shows("nothing; the new port is never opened", log="Error adding/updating listener(s) 0.0.0.0_8081"),
    says=SAYS,
    right=frozenset({"v1"}),
    story=story,
)
