"""A bad update is written, and the operator is killed before it has seen what came of it; it is started again later.

Nothing that matters is in its memory: it goes on where it was, and puts the old revision back.
"""

import time

from tests import wasm_modules
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.run import IncidentRun

AWAY = 3.0


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=run.push(wasm_modules.traps_at_start()))
    if run.is_bare:
        return
    run.until("the update is written", lambda: run.is_written())
    run.operator.kill()
    time.sleep(AWAY)
    run.operator.start()
    run.closing.callback(run.operator.stop)


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
