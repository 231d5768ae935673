"""Reasons about the release as a whole."""

from __future__ import annotations

from pluginrelease.api.conditions import ConditionType
from pluginrelease.api.explanations.values import Elsewhere, Explanation, Section, Then
from pluginrelease.api.reasons import Reason

_RELEASE = {
    Reason.PENDING: Explanation(Then.GOES_ON, "The operator's first check of the release has not ended yet.", "Wait."),
    Reason.SUSPENDED: Explanation(
        Then.STAYS,
        (
            "`spec.suspend` is true. What ran keeps running, and the operator does not check it. `Ready` does not "
            "change, or is False if the spec asks for something that does not run."
        ),
        "Set `spec.suspend` to false.",
    ),
    Reason.SWITCHED_OFF: Explanation(
        Then.STAYS,
        (
            "A user switched the release off with `pluginrelease.io/off`. No gateway has its plugin, so requests pass "
            "without it. A change of the spec, a new tag or a retry does not end this."
        ),
        "When the reason in the message is over, run `kubectl pluginrelease on`.",
        where=(ConditionType.READY, ConditionType.APPLIED, ConditionType.LOADED, Elsewhere.EVENT),
    ),
    Reason.DELETING: Explanation(
        Then.GOES_ON,
        "The PluginRelease is being deleted.",
        "Wait. If it remains, read its events: they report what the clean-up waits for.",
    ),
    Reason.NOT_REACHED: Explanation(
        Then.GOES_ON,
        "An earlier step failed, so this step has no result for the present spec.",
        "Read the condition of the step that the message names.",
        where=(Elsewhere.ANY_STEP,),
    ),
    Reason.PROGRESS_DEADLINE_EXCEEDED: Explanation(
        Then.GOES_ON_OR_PUTS_BACK,
        (
            "The rollout, or a state after it, has lasted longer than `rollout.progressDeadline`. If the revision is "
            "not written yet, the operator keeps trying. If it is written and not loaded, the rollout has failed."
        ),
        "Read the reason of `Ready`.",
        where=(ConditionType.STALLED, ConditionType.LOADED, Elsewhere.EVENT),
    ),
    Reason.ROLLBACK_TO: Explanation(
        Then.STAYS,
        "The revision in `pluginrelease.io/rollback-to` runs instead of the spec's.",
        "Correct the spec, or run `kubectl pluginrelease retry`.",
    ),
    Reason.REVISION_NOT_FOUND: Explanation(
        Then.STAYS,
        "The cluster does not keep the revision that a user asked for, or that the operator should restore.",
        ("List the kept revisions with `kubectl pluginrelease history`. To keep more, raise `revisionHistoryLimit`."),
        where=(ConditionType.APPLIED,),
    ),
    Reason.REVISION_UNREADABLE: Explanation(
        Then.STAYS,
        (
            "A ControllerRevision of this release does not contain what the operator wrote. Another client may have "
            "changed it."
        ),
        "Correct the spec, or roll back to another revision.",
        where=(ConditionType.APPLIED,),
    ),
    Reason.ROLLBACK_BLOCKED: Explanation(
        Then.WAITS,
        (
            "The revision failed, and the image of the one before can no longer be fetched. The operator does not "
            "change the gateways: some may still run the one before, and would lose it."
        ),
        "Push the image again, or correct the spec.",
        where=(ConditionType.ARTIFACT_READY, Elsewhere.EVENT),
    ),
    Reason.ROLLBACK_REFUSED_BY_ENVOY: Explanation(
        Then.GOES_ON,
        (
            "Envoy refuses the restored revision, because the same bytes failed there. Or Envoy hangs, and receives "
            "nothing. The operator first runs the newest kept revision with other bytes. Without one, it restarts the "
            "gateways one after another, while another gateway is ready. If there is no other gateway, it removes the "
            "plugin for a minute, and requests pass without it."
        ),
        "Wait. If `RollbackFailed` follows, delete the pods one after another.",
        where=(ConditionType.APPLIED, Elsewhere.EVENT),
    ),
    Reason.ROLLBACK_FAILED: Explanation(
        Then.STAYS,
        "The operator restored the stable revision, but a gateway cannot run it, or its probes fail.",
        "Read the gateway's error in the message, and correct what it names.",
        where=(Elsewhere.EVENT,),
    ),
    Reason.HELD: Explanation(
        Then.STAYS,
        "The revision failed, and stays on the gateways because `rollout.onFailure` is Hold.",
        "Correct the spec, or run `kubectl pluginrelease retry`.",
        where=(Elsewhere.EVENT,),
    ),
    Reason.INVALID_DURATION: Explanation(
        Then.STAYS,
        "A duration in the spec is longer than a year.",
        "Write `90s`, `2m` or `1h30m`.",
        where=(ConditionType.READY,),
    ),
    Reason.RELEASE_UNREADABLE: Explanation(
        Then.STAYS,
        (
            "The release has a value that this version of the operator does not know, as after a downgrade. The "
            "operator does not change its gateways. Other releases continue, and the command line's table shows them."
        ),
        (
            "Apply the release again in the form of the installed CRD; it keeps its objects. Or run the operator and "
            "CRD of the version that wrote it. On the command line, use the operator's version."
        ),
        where=(ConditionType.READY, Elsewhere.EVENT, Elsewhere.COMMAND_LINE),
    ),
    Reason.TOO_MANY_PODS: Explanation(
        Then.STAYS,
        (
            "The entries of `gateways` select more pods than the status of one release has room for. The operator "
            "writes nothing. If pods are added after the write, the plugin stays on all of them. But the operator "
            "cannot report each pod."
        ),
        "Split the release: create a second PluginRelease for some of the entries.",
        where=(ConditionType.COMPATIBLE, ConditionType.READY),
    ),
    Reason.INTERNAL_ERROR: Explanation(
        Then.RETRIES,
        "The operator has a bug. Its log has the traceback.",
        "Please report it.",
        where=(Elsewhere.ANY_STEP,),
    ),
}

RELEASE = Section(
    "The release",
    (ConditionType.READY,),
    _RELEASE,
)
