"""RestoreLoggers: set Envoy's filter logger back to the level that it had."""

from __future__ import annotations

from pluginrelease.controller.actions.notes import RESTORE_LEVELS
from pluginrelease.controller.steps import Step

STEPS: tuple[Step, ...] = (RESTORE_LEVELS,)
