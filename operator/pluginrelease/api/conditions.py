"""``status.conditions``: their types, in the order in which a pass reaches them, and their form."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from pluginrelease.api.metadata import Model
from pluginrelease.api.times import Time

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

    type: str = Field(max_length=316, description="Type of the condition.")
    status: Literal["True", "False", "Unknown"] = Field(
        description="True, False or Unknown. Unknown: the operator cannot know it, or has not checked it."
    )
    reason: Annotated[str, Field(min_length=1, max_length=1024)] = Field(description="Reason, as one CamelCase word.")
    message: Annotated[str, Field(max_length=32768)] = Field(
        default="", description="What the operator found, and what to do next."
    )
    last_transition_time: Time = Field(description="When status last changed.", json_schema_extra={"maxLength": 64})
    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Generation of the spec that the condition is about."
    )
