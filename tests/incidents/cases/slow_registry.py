"""An update's image is given out so slowly that the operator can fetch it, and gateways give up: they have 30 seconds.

With bare Istio the working plugin is replaced by a filter that denies everything. So it is with a release, until the
old revision is put back. Only a look at how long the fetch took could refuse it beforehand.
"""

import sys

from pluginrelease.lab import network
from tests import wasm_modules
from tests.incidents import slow
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.stage import Plugin, Stage

SECONDS = 33


def story(stage: Stage) -> None:
    host = f"{network.ADDRESS}:{stage.port}"
    upstream = stage.lab.registry
    relay = stage.lab.popen([sys.executable, slow.__file__, host, upstream, "slow", str(SECONDS)])
    stage.closing.callback(relay.kill)
    good = stage.push(wasm_modules.answering("v1"), "quick:1.0")
    update = stage.push(wasm_modules.answering("v2"), "slow:1.0")
    stage.run(Plugin(good.replace(upstream, host)))
    stage.change(image=update.replace(upstream, host))


INCIDENT = Incident(
    shows=Shows("403 to everyone", log="context deadline exceeded", answer=(403, "-")),
    says=Says("FetchFailed", "RolledBack", Becomes.RESTORED),
    right=frozenset({"v1"}),
    story=story,
)
