"""Somebody else's plugin in the same listener goes bad; then a good update of ours comes.

Envoy's counters of refusals rise for every plugin of the gateway, and its listener's updates are refused. Ours must not
be blamed, and its update must come through.
"""

from dataclasses import replace

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin, wasm_plugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    theirs = IncidentPlugin(run.push(wasm_modules.answering("theirs", refuses_configuration=True)), priority=1)
    apply(run, theirs)
    run.until("their plugin runs", lambda: run.answered() == {(200, "theirs")})
    run.deploy_good(priority=2)

    run.begin()
    apply(run, replace(theirs, config={"fail": True}))
    run.until("theirs is refused", lambda: "Failed to configure base Wasm plugin" in run.logs())
    run.change(image=run.push(wasm_modules.answering("v2")))


def apply(run: IncidentRun, theirs: IncidentPlugin) -> None:
    """By hand, on either run."""
    run.apply(wasm_plugin(theirs, "theirs", *run.places(theirs)))


INCIDENT = Incident(
    shows=Shows("nothing: the neighbour's old code serves, and ours is new", log=".theirs", answer=(200, "v2")),
    says=Says("Loaded", "Ready", Becomes.WRITTEN),
    right=frozenset({"v1", "v2"}),
    story=story,
)
