"""A cluster is restored from a backup while its gateways serve: objects are as they were, and have other uids.

With bare Istio nothing happens. The release's object knows it by the uid that it had; it is the release's all the same,
and no gateway loads anything for it: Envoy's log still has its word of when it loaded it.
"""

import json

from pluginrelease import api
from tests.harness.cluster import JSON
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.plugins import HERE
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    run.deploy_good()
    assert run.plugin is not None
    if run.is_bare:
        run.begin()
        run.show(run.plugin)
        return
    backup = run.written(HERE)
    assert backup is not None
    lose_release(run)
    own = backup["metadata"]
    kept: JSON = {key: own[key] for key in ("name", "namespace", "labels", "annotations")}
    restored = {**backup, "metadata": kept}
    flags = ("--server-side", "--force-conflicts", "--field-manager=restore")
    run.lab.kubectl("apply", *flags, "-f", "-", stdin=json.dumps(restored))
    run.begin()
    run.show(run.plugin)


def lose_release(run: IncidentRun) -> None:
    """The release goes and leaves its object; the backup brings both back."""
    where = (run.asked, "-n", run.home)
    run.lab.kubectl("patch", api.PLURAL, *where, "--type=merge", "-p", '{"spec": {"deletionPolicy": "Orphan"}}')
    run.lab.kubectl("delete", api.PLURAL, *where, "--timeout=60s", timeout=90)


INCIDENT = Incident(
    shows=Shows("nothing, and all is well", answer=(200, "v1")),
    says=Says("Loaded", "Ready"),
    right=frozenset({"v1"}),
    story=story,
)
