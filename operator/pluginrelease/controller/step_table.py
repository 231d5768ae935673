"""The steps of each action."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pluginrelease.controller.actions import (
    consent,
    correct_drift,
    follow_config,
    follow_tag,
    keep_secrets,
    observe,
    observe_fallback,
    refetch,
    remove,
    restore_loggers,
    roll_back,
    roll_out,
    suspend,
    switch_off,
)
from pluginrelease.controller.steps import Step
from pluginrelease.core.rollout import actions
from pluginrelease.core.rollout.actions import Action

STEPS: Mapping[type[Action], tuple[Step, ...]] = MappingProxyType(
    {
        actions.SwitchOff: switch_off.STEPS,
        actions.Suspend: suspend.STEPS,
        actions.RollBack: roll_back.STEPS,
        actions.FollowTag: follow_tag.STEPS,
        actions.FollowConfig: follow_config.STEPS,
        actions.Glance: observe.GLANCE,
        actions.Decide: observe.DECIDE,
        actions.ObserveFallback: observe_fallback.STEPS,
        actions.EndHung: observe_fallback.END_HUNG,
        actions.FindRemoved: remove.FIND,
        actions.Remove: remove.STEPS,
        actions.CorrectDrift: correct_drift.STEPS,
        actions.ReturnToStable: roll_back.RETURN,
        actions.RemoveSuperseded: correct_drift.REMOVE_SUPERSEDED,
        actions.AskConsent: consent.STEPS,
        actions.ReadCarriers: roll_out.READ,
        actions.Accept: roll_out.ACCEPT,
        actions.RollOut: roll_out.STEPS,
        actions.KeepSecrets: keep_secrets.STEPS,
        actions.FindWritten: roll_out.FIND_WRITTEN,
        actions.Observe: observe.STEPS,
        actions.FetchAgain: refetch.STEPS,
        actions.RestoreLoggers: restore_loggers.STEPS,
    }
)
