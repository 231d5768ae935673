"""A plugin runs by a WasmPlugin that somebody made by hand, and is applied once more under another name.

With bare Istio every request goes through it twice: rate limits halve, headers double, and nothing says so.
"""

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.cases.two_releases_for_one_target import passes
from tests.incidents.plugins import IncidentPlugin, wasm_plugin
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    plugin = IncidentPlugin(run.push(wasm_modules.answering("v1")))
    run.plugin = plugin
    run.apply(wasm_plugin(plugin, "by-hand", *run.places(plugin)))
    run.await_served("v1")
    run.count()
    run.begin()
    run.show(plugin)
    if run.is_bare:
        run.until("a request goes through it twice", lambda: passes(run) == 2)


INCIDENT = Incident(
    shows=Shows("nothing: every request goes through it twice", answer=(200, "v1")),
    says=Says("DuplicatePlugin", "Refused"),
    right=frozenset({"v1"}),
    story=story,
)
