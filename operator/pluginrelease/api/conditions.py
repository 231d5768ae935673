"""``status.conditions``: their types, in the order in which a pass reaches them, and their form."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from pluginrelease.api.metadata import Model

# -------------------------------------------------------------------------------------------------- status


class ConditionType(StrEnum):
    """The conditions of a release. Ready, Reconciling and Stalled follow kstatus."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    ARTIFACT_READY = "ArtifactReady"
    VERIFIED = "Verified"
    COMPATIBLE = "Compatible"
    APPLIED = "Applied"
    LOADED = "Loaded"
    PROBED = "Probed"


class Condition(Model):
    """A metav1.Condition."""

    type: str = Field(max_length=316, description="Which condition.")
    status: Literal["True", "False", "Unknown"] = Field(description="Unknown: it cannot be told, or was not looked at.")
    reason: Annotated[str, Field(min_length=1, max_length=1024)] = Field(description="Why, in one CamelCase word.")
    message: Annotated[str, Field(max_length=32768)] = Field(
        default="", description="What was found, and then what to do."
    )
    last_transition_time: Annotated[str, Field(max_length=64)] = Field(
        description="When the status last changed.", json_schema_extra={"format": "date-time"}
    )
    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="The generation of the spec that it is about."
    )
