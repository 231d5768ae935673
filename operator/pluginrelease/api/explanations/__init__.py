"""What each reason means, and what to do: docs/reasons.md is made from these tables (`api.reasons_page`)."""

from __future__ import annotations

from pluginrelease.api.explanations.applied import API_SERVER, OBJECTS
from pluginrelease.api.explanations.artifact import ARTIFACT, SIGNATURE
from pluginrelease.api.explanations.commands import COMMANDS
from pluginrelease.api.explanations.compatible import COMPATIBLE
from pluginrelease.api.explanations.gateways import GATEWAYS, PROBES
from pluginrelease.api.explanations.release import RELEASE
from pluginrelease.api.explanations.trial import TRIAL
from pluginrelease.api.explanations.values import Elsewhere, Explanation, Section, Then

# in the order of the page
SECTIONS = (RELEASE, ARTIFACT, SIGNATURE, COMPATIBLE, OBJECTS, API_SERVER, GATEWAYS, PROBES, TRIAL, COMMANDS)

__all__ = ["SECTIONS", "Elsewhere", "Explanation", "Section", "Then"]
