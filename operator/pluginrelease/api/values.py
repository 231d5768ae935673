"""Forms of text that several fields share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

# ---------------------------------------------------------------------------------------------------- spec

Name = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
NamespaceName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
# as in a DNS label, so that it can be part of an object's name
EntryName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
LabelValue = Annotated[str, Field(max_length=63)]
# the value of a label of its pods
GatewayName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]

# -------------------------------------------------------------------------------------------------- status.checkpoint

_MARK = "[A-Za-z0-9_-]{7}"
PodNote = Annotated[
    str, Field(max_length=256, pattern=rf"^{_MARK}([.][A-Za-z0-9_-]{{4}}( (LB?|B|-)( [-,0-9a-z]+)?)?| S-?[0-9a-z]+)$")
]
RaisedPod = Annotated[str, Field(max_length=261, pattern=rf"^[^ ]* {_MARK}$")]
