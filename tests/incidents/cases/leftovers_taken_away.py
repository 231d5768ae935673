"""The same plugin by hand, with the checksum of its old image; the release is told to take away what it does not set.

The checksum goes in the very write that brings the new image, and a gateway pod that is replaced afterwards runs it.
"""

from pluginrelease import api
from tests.incidents import by_hand
from tests.incidents.book import Becomes, Incident, Says, Shows
from tests.incidents.plugins import HERE
from tests.incidents.run import IncidentRun


def story(run: IncidentRun) -> None:
    by_hand.update(run, by_hand.begin(run), **{api.REMOVE_FOREIGN_FIELDS_ANNOTATION: HERE})
    if not run.is_bare:
        run.await_said("Loaded", "Ready")
        run.await_served("v2")
    run.replace_one()


INCIDENT = Incident(
    shows=Shows("the new pod answers 403 to everyone", answer=(403, "-")),
    says=Says("Loaded", "Ready", Becomes.WRITTEN),
    right=frozenset({"v1", "v2"}),
    story=story,
    gateways=2,
)
