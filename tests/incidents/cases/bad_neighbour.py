"""Somebody else's plugin in the same listener goes bad; then a good update of ours comes.

Envoy's counters of refusals rise for every plugin of the gateway, and its listener's updates are refused. Ours must not
be blamed, and its update must come through.
"""

from dataclasses import replace

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.stage import Plugin, Stage, wasm_plugin


def story(stage: Stage) -> None:
    theirs = Plugin(stage.push(wasm_modules.answering("theirs", refuses_configuration=True)), priority=1)
    apply(stage, theirs)
    stage.until("their plugin runs", lambda: stage.answered() == {(200, "theirs")})
    stage.run_good(priority=2)

    stage.begin()
    apply(stage, replace(theirs, config={"fail": True}))
    stage.until("theirs is refused", lambda: "Failed to configure base Wasm plugin" in stage.logs())
    stage.change(image=stage.push(wasm_modules.answering("v2")))


def apply(stage: Stage, theirs: Plugin) -> None:
    """By hand, on either stage."""
    stage.apply(wasm_plugin(theirs, "theirs", stage.namespace, {"istio": stage.namespace}))


INCIDENT = Incident(
    shows=Shows("nothing: the neighbour's old code serves, and ours is new", log=".theirs", answer=(200, "v2")),
    says=Says("Loaded", "Ready", Becomes.WRITTEN),
    right=frozenset({"v1", "v2"}),
    story=story,
)
