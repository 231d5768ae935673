"""Reasons of a trial: Envoy runs the plugin where it serves no client."""

from __future__ import annotations

from pluginrelease.api.explanations.values import Elsewhere, Explanation, Section, Then
from pluginrelease.api.reasons import Reason

_TRIAL = {
    Reason.TRIAL_PASSED: Explanation(
        Then.ENDS,
        "An Envoy without clients loaded the plugin, served requests with it, and removed it.",
        "Nothing. Read what a trial cannot show in docs/try.md.",
    ),
    Reason.TRIAL_CRASHED: Explanation(
        Then.ENDS,
        "The plugin ended Envoy, needed more memory than the trial allows, or trapped. A gateway would do the same.",
        "Correct the plugin or its configuration. The message has Envoy's last words and the step.",
    ),
    Reason.TRIAL_HUNG: Explanation(
        Then.ENDS,
        (
            "Envoy's main thread or a worker did not answer any more. A gateway in that state stays Ready, and takes "
            "no configuration."
        ),
        "Correct the loop. If a large module only compiles slowly, use `--hang-after` with more seconds.",
    ),
    Reason.TRIAL_REFUSED: Explanation(
        Then.ENDS,
        "Envoy refused the plugin, or the plugin refused its configuration. Or it runs on no worker.",
        "Correct what Envoy's words in the message name.",
    ),
    Reason.TRIAL_INCONCLUSIVE: Explanation(
        Then.ENDS,
        (
            "The trial cannot decide. The plugin refused what depends on the gateway, gave no answer, or Envoy was "
            "ended from outside."
        ),
        "Read the plugin's log lines. Give the trial what it lacks: `--dump`, `--cluster` or `--stable`.",
    ),
    Reason.TRIAL_UNAVAILABLE: Explanation(
        Then.ENDS,
        "Envoy did not start, or it does not run plugins at all. The plugin was not tried.",
        "Correct what the message names.",
    ),
}

TRIAL = Section(
    "The trial",
    (Elsewhere.COMMAND_LINE,),
    _TRIAL,
    intro="`pluginrelease try` gives these ([try.md](try.md)).",
)
