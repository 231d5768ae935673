"""KeepSecrets: copy a rotated pull secret to the gateways, even if the registry is down."""

from __future__ import annotations

from pluginrelease.api import ConditionType
from pluginrelease.controller.preparing import keep_secret_of_carried
from pluginrelease.controller.steps import Each, Step

STEPS: tuple[Step, ...] = (Each(ConditionType.APPLIED, keep_secret_of_carried),)
