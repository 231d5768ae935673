"""Gateways hang of an update, and somebody pulls the switch before anybody can tell.

An Envoy whose main thread hangs takes nothing, so with bare Istio even deleting the WasmPlugin changes nothing: the old
code serves until the pods are deleted. With a release `off` takes the plugin away at once, and the gateways that cannot
learn of it are started again one after the other.
"""

from pluginrelease import api
from tests import wasm_modules
from tests.incidents import hanging
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import NAME
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good(checks={"load": {"timeout": "15s"}})
    run.change(image=run.push(wasm_modules.hangs_at_configure()))
    run.until("a gateway hangs", run.is_silent)
    hanging.calm(run)
    if not run.is_bare:
        off = f"{api.OFF_ANNOTATION}=1: gateways hang"
        run.lab.kubectl("annotate", api.PLURAL, NAME, "-n", run.home, off)
    run.await_answering("SwitchedOff", "Off")


INCIDENT = Incident(
    shows=Shows("nothing: the old code serves, and the gateway takes no configuration", seen=IncidentRun.is_silent),
    says=Says("SwitchedOff", "Off", Becomes.REMOVED),
    right=frozenset({"v1", "-"}),
    story=story,
    gateways=2,
    because="a gateway that hangs takes nothing until it is started again, while the other one serves",
)
