"""A configuration holds a whole number beyond 2^53: an account's id, for example.

Istio carries numbers as doubles, and ``kubectl apply`` makes one of it too when it changes an object: the plugin is
given another number than the one that was written. With bare Istio nothing shows it.
"""

from tests.incidents.book import Incident, Says, Shows
from tests.incidents.run import IncidentRun

NUMBER = 2**53 + 1


def story(run: IncidentRun) -> None:
    run.deploy_good(config={"account": 1})
    run.change(config={"account": NUMBER})


INCIDENT = Incident(
    shows=Shows("nothing: the plugin is given another number", answer=(200, "v1")),
    says=Says("NumberNotExact", "Refused"),
    right=frozenset({"v1"}),
    story=story,
)
