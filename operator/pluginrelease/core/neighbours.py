"""The other releases on the same gateways: whose write came last before something went wrong there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from pluginrelease.core import api, moment
from pluginrelease.core.outage import Neighbour
from pluginrelease.core.rival import common_ground

__all__ = ["common_ground", "neighbour", "others"]


def others(release: api.Release, listed: Iterable[Mapping[str, Any]]) -> Iterator[api.Release]:
    """The releases that have written something; one that cannot be read is its own trouble."""
    for one in listed:
        try:
            other = api.Release.model_validate(one)
        except ValidationError:
            continue
        if other.metadata.uid != release.metadata.uid and other.status.observation is not None:
            yield other


def neighbour(other: api.Release, uids: Iterable[str]) -> Neighbour:
    """When it wrote last, and whether that is being undone; ``uids`` are the pods that it selects."""
    known, decided = other.status.observation, other.status.rollout
    assert known is not None  # noqa: S101  only those that have one are asked for
    failed = decided.failure if decided else None
    name = f"{other.metadata.namespace}/{other.metadata.name}"
    return Neighbour(name, frozenset(uids), moment.read(known.since), moment.read(failed.at) if failed else None)
