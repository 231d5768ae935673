"""A bad update is written, and the operator is killed before it has seen what came of it; it is started again later.

Nothing that matters is in its memory: it goes on where it was, and puts the old revision back.
"""

import time

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.stage import Stage

AWAY = 3.0


def story(stage: Stage) -> None:
    stage.run_good()
    stage.change(image=stage.push(wasm_modules.traps_at_start()))
    if stage.is_bare:
        return
    stage.until("the update is written", lambda: stage.written() != stage.before)
    stage.operator.kill()
    time.sleep(AWAY)
    stage.operator.start()
    stage.closing.callback(stage.operator.stop)


INCIDENT = Incident(
    shows=Shows(
        "nothing: the old code serves, and listeners are stuck",
        log="Function: proxy_on_vm_start failed",
        answer=(200, "v1"),
    ),
    says=Says("PluginRejected", "RolledBack", Becomes.RESTORED),
    right=frozenset({"v1"}),
    story=story,
)
