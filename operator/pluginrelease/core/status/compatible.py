"""The condition Compatible, for a module that no gateway refuses."""

from __future__ import annotations

from collections.abc import Sequence

from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.core.compat import Compatibility, CompatibilityState, Warned
from pluginrelease.core.findings import Finding

KIND = ConditionType.COMPATIBLE


def describe_compatible(answer: Compatibility, odd: Sequence[Warned] = (), untold: str = "") -> Finding:
    """Return the condition, with the reason of the first doubt.

    A doubt is what is not known of the gateways, whether they trust the registry (``untold``), or what is odd in the
    module.
    """
    words = [f"{answer.sentence().rstrip('.')}.", *map(str, odd)]
    if answer.state is not CompatibilityState.COMPATIBLE:
        return Finding(KIND, "Unknown", answer.reason, " ".join([*words, untold]).strip())
    if untold:
        return Finding(KIND, "Unknown", Reason.REGISTRY_TRUST_UNKNOWN, " ".join([f"{untold}.", *words]))
    return Finding(KIND, "True", odd[0].reason if odd else answer.reason, " ".join(words))
