"""A plugin that a team has by hand, with its image's checksum, is to be updated; then a gateway pod is replaced.

The checksum stays, as whoever changes the image does not own it. Agents that run find the old module by it and go on
with that. The new pod fetches the new image, which has another checksum, and answers 403 to everyone. With a
release that is to adopt it the field is named, and nothing is written before somebody decides.
"""

from tests.incidents import by_hand
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.run import IncidentRun

SAYS = Says("ForeignFields", "Refused")


def story(run: IncidentRun) -> None:
    by_hand.update(run, by_hand.begin(run))
    if not run.is_bare:
        run.await_said(SAYS.reason, SAYS.phase)
    run.replace_one()


INCIDENT = Incident(
    shows=Shows("the new pod answers 403 to everyone", answer=(403, "-")),
    says=SAYS,
    right=frozenset({"v1", "v2"}),
    story=story,
    gateways=2,
)
