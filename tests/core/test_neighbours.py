"""Which other releases may be to blame for what happens to a gateway."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pluginrelease.core.apiserver import stored
from pluginrelease.core.rollout import neighbours
from tests.harness import releases

SINCE = "2026-11-20T12:00:00.500000Z"
WROTE: dict[str, Any] = {"gateways": [{"name": "public", "revision": "a" * 10, "since": SINCE}]}
FAILURE = {
    "revision": "a" * 10,
    "gateways": ["public"],
    "reason": "GatewayCrashed",
    "message": "",
    "at": "2026-11-20T12:00:03Z",
}
NOW = datetime(2026, 11, 20, 12, 10, tzinfo=UTC)
WATCHED = {"name": "public", "state": "Loaded", "reason": "Loaded", "watch": {"since": "2026-11-20T12:00:03Z"}}
ROLLOUT = {"specHash": "h", "startedAt": "2026-11-20T12:00:00Z"}


def other(**status: Any) -> dict[str, Any]:
    named = {"metadata__name": "other", "metadata__uid": "0" * 8}
    return releases.manifest(**named, **{f"status__{key}": value for key, value in status.items()})


@pytest.mark.parametrize(
    ("found", "counts", "why"),
    [
        (other(), False, "it has written nothing"),
        (other(checkpoint=WROTE), True, "it has written"),
        (other(checkpoint=WROTE, rollout={**ROLLOUT, "completedAt": SINCE}), False, "and has run everywhere since"),
        (
            other(checkpoint=WROTE, rollout={**ROLLOUT, "completedAt": SINCE}, gateways=[WATCHED]),
            True,
            "and has run everywhere since, ten minutes ago",
        ),
        (other(checkpoint=WROTE, rollout={**ROLLOUT, "failure": FAILURE}), True, "and is being undone"),
        (releases.manifest(status__checkpoint=WROTE), False, "it is the same release"),
        (other(checkpoint={"gateways": 7}), False, "it cannot be read"),
        (
            {**other(checkpoint=WROTE), "spec": releases.manifest(spec__suspend=True)["spec"]},
            False,
            "it is suspended, and undoes nothing",
        ),
    ],
)
def test_who_may_be_to_blame(found: dict[str, Any], counts: bool, why: str) -> None:
    """Another release whose write has not been seen to run everywhere."""
    assert bool([*neighbours.find_neighbours(releases.release(), stored.sort_out([found])[0], NOW)]) == counts, why


def test_what_is_known_of_a_neighbour() -> None:
    """Since when it is there, whether that is being undone, and which pods it has."""
    [one] = neighbours.find_neighbours(
        releases.release(), stored.sort_out([other(checkpoint=WROTE, rollout={**ROLLOUT, "failure": FAILURE})])[0], NOW
    )
    found = neighbours.make_neighbour(one, "public", ["uid-1"])
    assert found is not None
    assert (found.name, found.uids) == ("istio-ingress/other", {"uid-1"})
    assert found.since == datetime(2026, 11, 20, 12, 0, 0, 500000, tzinfo=UTC)
    assert found.failed_at == datetime(2026, 11, 20, 12, 0, 3, tzinfo=UTC)


def test_what_is_known_is_of_one_entry() -> None:
    """An entry that never wrote is no neighbour; one that does not go back goes on, whatever becomes of another."""
    both = [*WROTE["gateways"], {"name": "internal", "revision": "a" * 10, "since": SINCE}]
    found = other(checkpoint={"gateways": both}, rollout={**ROLLOUT, "failure": FAILURE})
    [one] = neighbours.find_neighbours(releases.release(), stored.sort_out([found])[0], NOW)
    assert neighbours.make_neighbour(one, "partners", ["uid-1"]) is None
    internal = neighbours.make_neighbour(one, "internal", ["uid-1"])
    assert internal is not None
    assert internal.failed_at is None
