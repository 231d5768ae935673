"""Count releases, entries and gateway pods by state, from the statuses that were written.

The labels are reasons of conditions and Events. A word of another version counts as `OTHER`, so that no status can add
a new series to a metric.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, get_args

from pluginrelease.api import ConditionType, GatewayState
from pluginrelease.api.reasons import Reason
from pluginrelease.core.apiserver.stored import JSON, read_items, read_path
from pluginrelease.core.findings import TriState

OTHER = "Other"
PHASES = frozenset(
    (
        "New",
        "Pending",
        "Loading",
        "Ready",
        "Unhealthy",
        "Unknown",
        "Refused",
        "Waiting",
        "Retrying",
        "Suspended",
        "RollingBack",
        "RolledBack",
        "Removed",
        "Held",
        "RollbackBlocked",
        "RollbackFailed",
        "SwitchingOff",
        "Off",
    )
)
STATUSES = frozenset(get_args(TriState))
STATES, TYPES = frozenset(GatewayState), frozenset(ConditionType)
POD_STATES = ("Loaded", "Failed", "Unproven")


@dataclass
class Census:
    """Counts by their labels.

    ``releases``: phase and Ready's reason. ``conditions``: type, status and reason. ``entries``: state and reason of
    what is in status.gateways. ``pods``: those of `POD_STATES`; Unproven was seen neither running nor refusing.
    """

    releases: Counter[tuple[str, str]] = field(default_factory=Counter)
    conditions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    entries: Counter[tuple[str, str]] = field(default_factory=Counter)
    pods: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(POD_STATES, 0)))


def count(releases: Iterable[JSON]) -> Census:
    """Return the counts over releases as the API server stores them, also those that this version cannot read."""
    census = Census()
    for release in releases:
        add(census, release)
    return census


def add(census: Census, release: JSON) -> None:
    """Count one release."""
    conditions = [condition for condition in items_of(release, "conditions") if is_known(condition)]
    ready = next((condition for condition in conditions if condition["type"] == ConditionType.READY), {})
    census.releases[name_phase(release), name_reason(ready.get("reason"))] += 1
    for condition in conditions:
        census.conditions[condition["type"], condition["status"], name_reason(condition.get("reason"))] += 1
    for row in items_of(release, "gateways"):
        state = row.get("state") if row.get("state") in STATES else OTHER
        census.entries[str(state), name_reason(row.get("reason"))] += 1
    if isinstance(summary := read_path(release, "status", "summary"), dict):
        desired, loaded, failed = (read_number(summary, name) for name in ("desired", "loaded", "failed"))
        census.pods.update({"Loaded": loaded, "Failed": failed, "Unproven": max(0, desired - loaded - failed)})


def items_of(release: JSON, part: str) -> list[JSON]:
    """Return the items of a list in the status that are mappings."""
    return [item for item in read_items(read_path(release, "status", part)) if isinstance(item, dict)]


def is_known(condition: JSON) -> bool:
    """Return True if this version has the condition. One without a reason is not counted."""
    return condition.get("type") in TYPES and condition.get("status") in STATUSES


def name_phase(release: JSON) -> str:
    """Return the phase; `OTHER` for a word of another version."""
    phase = read_path(release, "status", "phase") or "New"
    return phase if phase in PHASES else OTHER


def name_reason(word: object) -> str:
    """Return a reason as a label; `OTHER` for a word of another version."""
    known = Reason.read(word) if isinstance(word, str) else None
    return OTHER if known is None else known.value


def read_number(found: JSON, name: str) -> int:
    """Return a count; 0 if there is none."""
    number: Any = found.get(name)
    return number if isinstance(number, int) else 0
