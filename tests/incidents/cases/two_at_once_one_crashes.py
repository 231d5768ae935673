"""Two plugins of the same gateways are updated at once, and one of the two kills Envoy.

With bare Istio every gateway crash-loops. Of two releases the one that wrote last goes back first, and the other one if
it goes on: the killer leaves in either case. Where the good one was put back with it, a retry brings it.
"""

from dataclasses import replace

from tests import wasm_modules
from tests.harness.cluster import conditions, observed, ready
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun

OTHER = "other"


def story(run: IncidentRun) -> None:
    other = IncidentPlugin(run.push(wasm_modules.answering("o1")), priority=1)
    run.apply(*run.manifests(other, OTHER))
    run.until("the other one runs", lambda: run.answered() == {(200, "o1")})
    run.deploy_good(priority=2)
    assert run.plugin is not None
    bad = replace(run.plugin, image=run.push(wasm_modules.aborts_at_configure()))
    better = replace(other, image=run.push(wasm_modules.answering("o2")))
    run.begin()
    run.apply(*run.manifests(bad), *run.manifests(better, OTHER))
    run.await_back("GatewayCrashed", "RolledBack", "v1")
    if run.is_bare:
        return
    run.until("the other one has an end", lambda: "Stalled" in kinds(run) or has_settled(run))
    if not has_settled(run):
        run.cluster.retry(OTHER, run.home)
    run.until("the other one's update runs", lambda: has_settled(run))


def kinds(run: IncidentRun) -> set[str]:
    """What the other release says."""
    return set(conditions(run.cluster.release(OTHER, run.home)))


def has_settled(run: IncidentRun) -> bool:
    """Whether the other release has its update everywhere."""
    found = run.cluster.release(OTHER, run.home)
    image = found["spec"]["artifact"]["image"]["ref"]
    return observed(found) and ready(found)["status"] == "True" and found["status"]["artifact"]["ref"] == image


INCIDENT = Incident(
    shows=Shows("every gateway crash-loops, with exit code 0", seen=lambda run: min(run.restarts()) >= 2),
    says=Says("GatewayCrashed", "RolledBack", Becomes.RESTORED),
    right=frozenset({"v1"}),
    story=story,
    gateways=2,
)
