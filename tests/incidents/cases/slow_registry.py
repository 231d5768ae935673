"""An update's image is given out so slowly that gateways give up before they have it: they take 30 seconds, no more.

With bare Istio the working plugin is replaced by a filter that denies everything. The operator takes no more time than
a gateway would, so what is too slow for one never gets there.
"""

import sys

from pluginrelease_lab import network
from tests import wasm_modules
from tests.incidents import slow
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.stage import Plugin, Stage

SLOW = "/late/"
SECONDS = 40


def story(stage: Stage) -> None:
    start_relay(stage)
    stage.run(Plugin(push(stage, "v1", "good:1.0")))
    stage.change(image=push(stage, "v2", "late:1.0"))


def push(stage: Stage, says: str, name: str) -> str:
    """An image that is fetched by way of the relay."""
    pushed = stage.push(wasm_modules.answering(says), name)
    return pushed.replace(stage.lab.registry, f"{network.ADDRESS}:{stage.port}")


def start_relay(stage: Stage) -> None:
    """Returns when it answers."""
    argv = [slow.__file__, f"{network.ADDRESS}:{stage.port}", stage.lab.registry, SLOW, str(SECONDS)]
    relay = stage.lab.popen([sys.executable, *argv])
    stage.closing.callback(relay.kill)
    stage.until("the relay answers", lambda: answers(stage))


def answers(stage: Stage) -> bool:
    """Whether the relay does."""
    try:
        return stage.lab.request(network.ADDRESS, stage.port, "/v2/", timeout=2.0).status == 200
    except OSError:
        return False


INCIDENT = Incident(
    shows=Shows("403 to everyone after 30 s", log="context deadline exceeded", answer=(403, "-")),
    says=Says("RegistryUnavailable", "Retrying"),
    right=frozenset({"v1"}),
    story=story,
)
