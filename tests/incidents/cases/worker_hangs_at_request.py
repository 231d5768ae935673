"""An update runs well on two gateways until a request comes that never returns: one worker of one gateway hangs.

Its main thread answers, and so does the other worker: with bare Istio nothing shows it but a counter, and every second
connection gets no answer. With a release a probe misses these answers. The old revision is put back, the worker does
not take it, and the gateway is started again while the other one serves.
"""

from tests import wasm_modules
from tests.harness import gateways
from tests.incidents import hanging
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.run import IncidentRun

CHECKS = {"load": {"timeout": "10s"}, "probes": [{"name": "answers"}]}


def misses_worker(run: IncidentRun) -> bool:
    """Return whether some gateway's watchdog has missed a worker."""
    counted = (gateways.ask_admin(run.lab, pod, "/stats?filter=worker_.*watchdog_mega_miss") for pod in run.gateways())
    return any(not line.endswith(": 0") for text in counted for line in text.split("\n") if line)


def story(run: IncidentRun) -> None:
    run.deploy_good(checks=CHECKS)
    run.change(image=run.push(wasm_modules.answering_until_hung("v2")))
    run.await_served("v2")
    if not run.is_bare:
        run.await_said("Loaded", "Ready")
    run.ask(run.gateways()[0], x_trap="1")
    hanging.calm(run)
    run.until("a worker hangs", lambda: misses_worker(run))
    run.await_back("ProbeUnanswered", "RolledBack", "v1")


INCIDENT = Incident(
    shows=Shows("no answer on every second connection to one gateway, and a counter", seen=misses_worker),
    says=Says("ProbeUnanswered", "RolledBack", Becomes.RESTORED),
    right=frozenset({"v1", "v2"}),
    story=story,
    gateways=2,
    because="a worker that hangs answers nothing until its gateway is started again, while the other one serves",
)
