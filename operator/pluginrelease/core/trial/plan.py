"""What the driver of a trial needs to know besides the files: the revisions, the requests and the limits."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from pluginrelease import api
from pluginrelease.core.trial.revisions import TrialRevision

VERSION = 1
# An Envoy that compiles does not answer either: 2.7 MB of Go took 3.8 to 9.7 s on a busy machine with two cores.
FEWEST_HANG_SECONDS = 60.0
HANG_SECONDS_PER_MB = 15.0
# for one request; Envoy's watchdog counts a worker as hung after a second
ANSWER_SECONDS = 10.0
DEFAULT_MEBIBYTES = 1024

DEFAULT_REQUESTS = (
    api.Probe(name="get", path="/"),
    api.Probe(name="post", method=api.ProbeMethod.POST, path="/", body='{"trial": true}'),
)


@dataclass(frozen=True)
class TrialPlan:
    """A trial of ``revision`` over ``stable`` (None: the gateways have none yet).

    ``hang_seconds``: for how long Envoy's admin port may be silent. ``mebibytes``: the most memory that Envoy may have;
    0 if something else limits it. ``times``: how often each request is sent; each is on a connection of its own.
    ``concurrency``: Envoy's worker threads. ``echo_port``: where the trial's own upstream listens; 0 takes a free one.
    """

    revision: TrialRevision
    stable: TrialRevision | None = None
    requests: tuple[api.Probe, ...] = DEFAULT_REQUESTS
    hang_seconds: float = FEWEST_HANG_SECONDS
    mebibytes: int = DEFAULT_MEBIBYTES
    times: int = 3
    concurrency: int = 2
    echo_port: int = 0

    def as_json(self) -> str:
        """Return the text of `layout.PLAN`."""
        fields = {name: value for name, value in dataclasses.asdict(self).items() if name != "requests"}
        found = {"version": VERSION, **fields, "requests": [probe.wire() for probe in self.requests]}
        return json.dumps(found, default=sorted)  # sets of texts

    @classmethod
    def from_json(cls, text: str) -> TrialPlan:
        """Read the text of `layout.PLAN`. Raises ValueError for another shape or version."""
        try:
            found: dict[str, Any] = json.loads(text)
            if found.pop("version") != VERSION:
                raise ValueError("it is of another version")
            stable = found.pop("stable")
            return cls(
                revision=TrialRevision.from_json(found.pop("revision")),
                stable=None if stable is None else TrialRevision.from_json(stable),
                requests=tuple(api.Probe.model_validate(each) for each in found.pop("requests")),
                **found,
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"it is no plan of a trial: {error!r}") from None


def find_hang_seconds(size: int) -> float:
    """Return for how long an Envoy may be silent that loads a module of ``size`` bytes."""
    return max(FEWEST_HANG_SECONDS, HANG_SECONDS_PER_MB * size / 1_000_000)
