"""The condition Applied: what the object in the cluster carries."""

from __future__ import annotations

from typing import Any

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.core.findings import Finding
from pluginrelease.core.rollout import foreign_fields, placements
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.rollout.decisions import Goal
from pluginrelease.core.rollout.facts import EntryView

JSON = dict[str, Any]


def place_of_object(carrier: JSON | None) -> api.ObjectStatus | None:
    """Return the status of an object, given as the API server returns it."""
    return placements.describe_object(carrier) if carrier is not None else None


def describe_applied(view: EntryView, candidate: Candidate, carrier: JSON | None) -> Finding:
    """Return the condition Applied: the object in the cluster is what the candidate wants.

    It also reports fields that others added.
    """
    again = view.intent.goal is Goal.ROLLBACK
    text = f"{view.target_name()} carries revision {candidate.revision}{' again' if again else ''}"
    added = foreign_fields.find(view.rendered(candidate), carrier)
    if added:
        text = (
            f"{text}, and fields that this PluginRelease does not set: {', '.join(added)}. Set them here, remove them "
            "there, or let the operator remove them: annotate the PluginRelease with "
            f"{api.REMOVE_FOREIGN_FIELDS_ANNOTATION}: "
            f"{view.name}"
        )
        return Finding(ConditionType.APPLIED, "True", Reason.FOREIGN_FIELDS, text[: api.MESSAGE_MAX])
    return Finding(ConditionType.APPLIED, "True", Reason.ROLLED_BACK if again else Reason.APPLIED, text)
