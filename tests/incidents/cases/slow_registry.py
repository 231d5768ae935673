"""An update's image is given out so slowly that gateways give up before they have it: they take 30 seconds, no more.

With bare Istio the working plugin is replaced by a filter that denies everything. The operator takes no more time than
a gateway would, so what is too slow for one never gets there.
"""

import sys

from pluginrelease_lab import network
from tests import wasm_modules
from tests.incidents import slow
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.plugins import IncidentPlugin
from tests.incidents.run import IncidentRun

SLOW = "/late/"
SECONDS = 40


def story(run: IncidentRun) -> None:
    start_relay(run)
    run.deploy(IncidentPlugin(push(run, "v1", "good:1.0")))
    run.change(image=push(run, "v2", "late:1.0"))


def push(run: IncidentRun, says: str, name: str) -> str:
    """An image that is fetched by way of the relay."""
    pushed = run.push(wasm_modules.answering(says), name)
    return pushed.replace(run.lab.registry, f"{network.ADDRESS}:{run.port}")


def start_relay(run: IncidentRun) -> None:
    """Returns when it answers."""
    argv = [slow.__file__, f"{network.ADDRESS}:{run.port}", run.lab.registry, SLOW, str(SECONDS)]
    relay = run.lab.popen([sys.executable, *argv])
    run.closing.callback(relay.kill)
    run.until("the relay answers", lambda: answers(run))


def answers(run: IncidentRun) -> bool:
    """Whether the relay does."""
    try:
        return run.lab.request(network.ADDRESS, run.port, "/v2/", timeout=2.0).status == 200
    except OSError:
        return False


INCIDENT = Incident(
    shows=Shows("403 to everyone after 30 s", log="context deadline exceeded", answer=(403, "-")),
    says=Says("RegistryUnavailable", "Retrying"),
    right=frozenset({"v1"}),
    story=story,
)
