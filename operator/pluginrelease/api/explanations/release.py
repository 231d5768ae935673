"""What the whole release says."""

from __future__ import annotations

from pluginrelease.api.conditions import ConditionType
from pluginrelease.api.explanations.values import Elsewhere, Explanation, Section, Then
from pluginrelease.api.reasons import Reason

_RELEASE = {
    Reason.PENDING: Explanation(Then.GOES_ON, "The first look has not ended yet.", "Wait."),
    Reason.SUSPENDED: Explanation(
        Then.STAYS,
        "`spec.suspend` is true. What runs goes on running, and nobody looks at it.",
        "Set it to false.",
    ),
    Reason.DELETING: Explanation(
        Then.GOES_ON,
        "The PluginRelease is being deleted.",
        "Wait. If it does not go, read its events: they say what the clean-up waits for.",
    ),
    Reason.NOT_REACHED: Explanation(
        Then.GOES_ON,
        "An earlier step failed, so this one says nothing about the present spec.",
        "Look at the step that the message names.",
        where=(Elsewhere.ANY_STEP,),
    ),
    Reason.PROGRESS_DEADLINE_EXCEEDED: Explanation(
        Then.GOES_ON_OR_PUTS_BACK,
        "The rollout has taken longer than `rollout.progressDeadline`. What is not written yet is still tried. "
        "What is written and still awaited counts as failed.",
        "Look at the reason of `Ready`.",
        where=(ConditionType.STALLED, ConditionType.LOADED, Elsewhere.EVENT),
    ),
    Reason.ROLLBACK_TO: Explanation(
        Then.STAYS,
        "A revision that somebody asked for by `pluginrelease.io/rollback-to` runs in place of what the spec says.",
        "Correct the spec, or ask for `kubectl pluginrelease retry`.",
    ),
    Reason.REVISION_NOT_FOUND: Explanation(
        Then.STAYS,
        "The revision that was asked for, or that is to be put back, is not kept.",
        "See which are kept with `kubectl pluginrelease history`. Raise `revisionHistoryLimit` to keep more.",
        where=(ConditionType.APPLIED,),
    ),
    Reason.REVISION_UNREADABLE: Explanation(
        Then.STAYS,
        "A ControllerRevision of this release does not hold what the operator wrote.",
        "Correct the spec, or roll back to another revision.",
        where=(ConditionType.APPLIED,),
    ),
    Reason.ROLLBACK_BLOCKED: Explanation(
        Then.WAITS,
        "What ran before is not put back, because its image cannot be fetched any more. A gateway that still "
        "runs it would lose it.",
        "Push the image again, or correct the spec.",
        where=(ConditionType.ARTIFACT_READY, Elsewhere.EVENT),
    ),
    Reason.ROLLBACK_REFUSED_BY_ENVOY: Explanation(
        Then.GOES_ON,
        "Envoy refuses what is put back, as the same bytes failed there, or hangs and takes nothing. The newest "
        "kept revision of other bytes runs for a moment. Without one, the gateways are started again one by "
        "one, while another is ready. Else the plugin is off for a minute.",
        "Wait. After `RollbackFailed` nothing else helped: delete the pods one after the other.",
        where=(ConditionType.APPLIED, Elsewhere.EVENT),
    ),
    Reason.ROLLBACK_FAILED: Explanation(
        Then.STAYS,
        "The stable revision was put back, and a gateway cannot run it, or its probes fail.",
        "Read the gateway's words in the message, and do as they say.",
        where=(Elsewhere.EVENT,),
    ),
    Reason.HELD: Explanation(
        Then.STAYS,
        "The revision failed, and it stays, as `rollout.onFailure` is Hold.",
        "Correct the spec, or ask for `kubectl pluginrelease retry`.",
        where=(Elsewhere.EVENT,),
    ),
    Reason.INVALID_DURATION: Explanation(
        Then.STAYS,
        "A time in the spec, or in a flag, cannot be read, or is longer than a year.",
        "Write `90s`, `2m` or `1h30m`.",
        where=(ConditionType.READY, Elsewhere.COMMAND_LINE),
    ),
    Reason.RELEASE_UNREADABLE: Explanation(
        Then.STAYS,
        "This release has a value that the operator's version does not know, as after a downgrade. What it has "
        "on the gateways stays. No other release is held up, and the command line's table shows the others.",
        "Run the operator, with its CRD, in the version that wrote it, or make a new PluginRelease. At the "
        "command line use the operator's version.",
        where=(ConditionType.READY, Elsewhere.EVENT, Elsewhere.COMMAND_LINE),
    ),
    Reason.TOO_MANY_PODS: Explanation(
        Then.STAYS,
        "The entries of `gateways` select more pods than the status of one release has room for.",
        "Split it: make a second PluginRelease for some of the entries.",
        where=(ConditionType.COMPATIBLE,),
    ),
    Reason.INTERNAL_ERROR: Explanation(
        Then.RETRIES,
        "A fault of the operator. Its log has the traceback.",
        "Report it, please.",
        where=(Elsewhere.ANY_STEP,),
    ),
}

RELEASE = Section(
    "The release",
    (ConditionType.READY,),
    _RELEASE,
)
