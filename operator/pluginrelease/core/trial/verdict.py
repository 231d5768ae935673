"""Judge a trial by what the driver saw.

The order of the checks is that of the steps: the first step that failed decides. A failure of the trial itself never
counts against the plugin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from pluginrelease.api.reasons import Reason
from pluginrelease.core.gateway.container import Cause
from pluginrelease.core.gateway.verdict.values import PodVerdict, State
from pluginrelease.core.rollout.probe import Unanswered
from pluginrelease.core.trial.plan import TrialPlan
from pluginrelease.core.trial.records import EnvoyEnd, StepRecord, TrialStep

MAX_QUOTED = 4
# what a user, or a system without memory, sends; a fault of Envoy sends other signals
_FROM_OUTSIDE = frozenset({"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"})
# Envoy's words when a callback of the plugin returned false or trapped; all other refusals are Envoy's own
_BY_PLUGIN = ("Failed to configure ", "Failed to start ")


class Answered(IntEnum):
    """The answer of a trial. It is the exit code of the command."""

    PASSED = 0
    REFUSED = 1
    NOT_KNOWN = 2


class TrialText(StrEnum):
    """The wording of this module; tests compare reasons and named values."""

    PASSED = "Envoy loaded the plugin, served requests with it, and removed it"
    LOADED = "Envoy loaded the plugin and serves requests with it"
    NOT_STARTED = "Envoy did not start: {said}"
    NO_PLUGINS = "it does not run even a plugin that does nothing. {said}"
    STABLE_FAILED = "The trial of the stable revision failed, so it proves nothing about the new one: {said}"
    ENDED = "Envoy ended by {how} {when}"
    MEMORY = "Envoy needed {mebibytes} MiB of memory {when}, and the trial allows {limit}"
    KILLED = "Envoy was ended from outside ({how}) {when}: memory of this machine, or a user"
    SILENT = "Envoy's main thread has not answered for {seconds:.0f} s {when}: it hangs"
    REFUSED = "Envoy refuses the plugin"
    TRAPPED = "The plugin trapped {when}. A gateway answers 503 to such requests, or lets them pass with FAIL_OPEN"
    WORKER = "A worker of Envoy hangs {when}: {said}"
    NO_ANSWER = "Envoy gave no answer {when}, and no worker hangs: {said}"
    DEPENDS = "{said} A gateway may take it, because {why}"
    CONTROL = "the stable revision is refused here too"
    CALLS = "the plugin imports {names}"
    FAILED_CALLS = "a call that depends on the gateway failed before: {names}"
    UNKNOWN_VALUES = "the trial does not have {names}"
    NO_WAY_BACK = "Envoy does not take the stable revision back. {said}"


_WHEN = {
    TrialStep.START: "when it started",
    TrialStep.LOAD: "when it loaded the plugin",
    TrialStep.REQUESTS: "at a request",
    TrialStep.BACK: "when the stable revision replaced the plugin",
    TrialStep.REMOVE: "when the plugin was removed",
}
_REMEDY = {
    Reason.TRIAL_CRASHED: "Correct the plugin or its configuration. A gateway would end in the same way, in every pod.",
    Reason.TRIAL_HUNG: "Correct the loop. A gateway that hangs stays Ready and takes no configuration.",
    Reason.TRIAL_REFUSED: "Correct what Envoy names. A running gateway would keep what it has; a new pod answers 500.",
    Reason.TRIAL_INCONCLUSIVE: "Read the plugin's log lines. Give the trial what it lacks, or try it on one gateway.",
    Reason.TRIAL_UNAVAILABLE: "Correct what the message names. The plugin was not tried.",
    Reason.TRIAL_PASSED: "",
}


@dataclass(frozen=True)
class TrialVerdict:
    """The verdict. ``step``: where it was decided; ``lines``: Envoy's own words."""

    reason: Reason
    message: str
    step: TrialStep | None = None
    lines: tuple[str, ...] = ()

    @property
    def answer(self) -> Answered:
        """Return whether the plugin passed, is refused, or neither is known."""
        return _ANSWERS[self.reason]

    def sentence(self) -> str:
        """Return what was found, then what to do."""
        return f"{self.message.rstrip('.')}. {_REMEDY[self.reason]}".strip()


_ANSWERS = {
    Reason.TRIAL_PASSED: Answered.PASSED,
    Reason.TRIAL_CRASHED: Answered.REFUSED,
    Reason.TRIAL_HUNG: Answered.REFUSED,
    Reason.TRIAL_REFUSED: Answered.REFUSED,
    Reason.TRIAL_INCONCLUSIVE: Answered.NOT_KNOWN,
    Reason.TRIAL_UNAVAILABLE: Answered.NOT_KNOWN,
}


def judge(plan: TrialPlan, records: Sequence[StepRecord]) -> TrialVerdict:
    """Return the verdict of the steps that were done, in their order."""
    stable_refused = any(_is_refused(record) for record in records if record.step is TrialStep.START)
    for record in records:
        found = _judge_step(plan, record, stable_refused=stable_refused and plan.stable is not None)
        if found is not None:
            return found
    is_whole = any(record.step is TrialStep.REMOVE for record in records)
    return TrialVerdict(Reason.TRIAL_PASSED, TrialText.PASSED if is_whole else TrialText.LOADED)


def _is_refused(record: StepRecord) -> bool:
    return record.row is not None and record.row.state is State.UNHEALTHY


def _judge_step(plan: TrialPlan, record: StepRecord, *, stable_refused: bool) -> TrialVerdict | None:
    if record.step is TrialStep.START:
        return _judge_start(plan, record)
    if record.end is not None:
        return _judge_end(plan, record.step, record.end)
    if record.silent is not None:
        text = TrialText.SILENT.format(seconds=record.silent, when=_WHEN[record.step])
        return TrialVerdict(Reason.TRIAL_HUNG, text, record.step)
    if record.error:
        return TrialVerdict(Reason.TRIAL_INCONCLUSIVE, record.error, record.step)
    if record.row is not None and record.row.state is not State.LOADED:
        return _judge_row(plan, record, record.row, stable_refused=stable_refused)
    if record.traps:
        return _report_traps(record.step, record.traps)
    return _judge_answers(record) if record.step is TrialStep.REQUESTS else None


def _judge_start(plan: TrialPlan, record: StepRecord) -> TrialVerdict | None:
    """Return a verdict if Envoy does not run plugins here.

    A stable revision that is refused is only a control: the new one may still load.
    """
    said, lines = record.error, tuple[str, ...]()
    if record.end is not None:
        lines = record.end.words.lines
        said = f"it ended by {_describe_end(record.end)}. {_quote(lines)}".strip()
    elif record.silent is not None:
        said = f"it did not answer for {record.silent:.0f} s"
    elif record.row is not None and plan.stable is None and record.row.state is not State.LOADED:
        lines = record.row.evidence
        said = TrialText.NO_PLUGINS.format(said=_quote(lines) or record.row.message)
    if not said:
        return None
    if plan.stable is not None and record.end is not None and record.end.signal:
        return TrialVerdict(Reason.TRIAL_INCONCLUSIVE, TrialText.STABLE_FAILED.format(said=said), record.step, lines)
    return TrialVerdict(Reason.TRIAL_UNAVAILABLE, TrialText.NOT_STARTED.format(said=said), record.step, lines)


def _judge_end(plan: TrialPlan, step: TrialStep, end: EnvoyEnd) -> TrialVerdict:
    when = _WHEN[step]
    if end.mebibytes:
        text = TrialText.MEMORY.format(mebibytes=end.mebibytes, when=when, limit=plan.mebibytes)
        return TrialVerdict(Reason.TRIAL_CRASHED, text, step)
    how = _describe_end(end)
    if end.signal in _FROM_OUTSIDE or (end.code is None and end.words.cause is not Cause.FATAL):
        return TrialVerdict(Reason.TRIAL_INCONCLUSIVE, TrialText.KILLED.format(how=how, when=when), step)
    text = TrialText.ENDED.format(how=how, when=when)
    return TrialVerdict(Reason.TRIAL_CRASHED, f"{text}. {_quote(end.words.lines)}".strip(), step, end.words.lines)


def _describe_end(end: EnvoyEnd) -> str:
    if end.code is None:
        return "an end that the status of its container explains"
    return end.signal or f"exit code {end.code}"


def _quote(lines: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(lines))[-MAX_QUOTED:]
    return f"It says: {' / '.join(distinct)}." if distinct else ""


def _judge_row(plan: TrialPlan, record: StepRecord, row: PodVerdict, *, stable_refused: bool) -> TrialVerdict:
    """Return the verdict for a plugin that does not run as it should, by the gateways' signs."""
    if record.step is TrialStep.BACK:
        text = TrialText.NO_WAY_BACK.format(said=row.message)
        reason = Reason.TRIAL_INCONCLUSIVE if stable_refused else Reason.TRIAL_REFUSED
        return TrialVerdict(reason, text, record.step, row.evidence)
    if row.is_crash or row.reason.means_crash:
        return _report_traps(record.step, row.evidence)
    if row.state is not State.UNHEALTHY or _is_only_counted(row):
        return TrialVerdict(Reason.TRIAL_INCONCLUSIVE, row.message, record.step, row.evidence)
    said = row.message
    if row.reason is Reason.PLUGIN_REJECTED:  # its message says what that means for a gateway
        said = f"{TrialText.REFUSED}. {_quote(row.evidence)}".strip()
    if _is_by_plugin(row) and (why := _find_dependence(plan, record, stable_refused=stable_refused)):
        text = TrialText.DEPENDS.format(said=said, why=why)
        return TrialVerdict(Reason.TRIAL_INCONCLUSIVE, text, record.step, row.evidence)
    return TrialVerdict(Reason.TRIAL_REFUSED, said, record.step, row.evidence)


def _report_traps(step: TrialStep, lines: tuple[str, ...]) -> TrialVerdict:
    when = "while Envoy loaded it" if step is TrialStep.LOAD else _WHEN[step]
    text = f"{TrialText.TRAPPED.format(when=when)}. {_quote(lines)}".strip()
    return TrialVerdict(Reason.TRIAL_CRASHED, text, step, lines)


def _is_only_counted(row: PodVerdict) -> bool:
    """Return True if VMs are missing, and no line of Envoy says why: a count alone refuses nothing."""
    return row.reason is Reason.PLUGIN_REFUSED_BY_WORKERS and not row.evidence


def needs_trace(plan: TrialPlan, record: StepRecord) -> bool:
    """Return True if only a trace of host calls shows whether the refusal depends on the gateway."""
    if record.row is None or plan.stable is not None or plan.revision.unknown_values:
        return False
    return bool(plan.revision.place_calls) and _is_by_plugin(record.row)


def _is_by_plugin(row: PodVerdict) -> bool:
    """Return True if a callback of the plugin refused, not Envoy itself."""
    return row.reason is Reason.PLUGIN_REJECTED and any(words in line for line in row.evidence for words in _BY_PLUGIN)


def _find_dependence(plan: TrialPlan, record: StepRecord, *, stable_refused: bool) -> str:
    """Return why a gateway might take what was refused here; "" if it would not.

    The stable revision is the control: where it is accepted, the place is not to blame. Without one, the calls that
    failed before the refusal say it, or the imports if no call was traced.
    """
    if plan.stable is not None:
        return TrialText.CONTROL if stable_refused else ""
    if plan.revision.unknown_values:
        return TrialText.UNKNOWN_VALUES.format(names=", ".join(plan.revision.unknown_values))
    if record.failed_calls is not None:
        names = ", ".join(record.failed_calls)
        return TrialText.FAILED_CALLS.format(names=names) if names else ""
    if plan.revision.place_calls:
        return TrialText.CALLS.format(names=", ".join(plan.revision.place_calls))
    return ""


def _judge_answers(record: StepRecord) -> TrialVerdict | None:
    unanswered = [
        (exchange.request, answer.why)
        for exchange in record.exchanges
        for answer in exchange.after
        if isinstance(answer, Unanswered)
    ]
    if not unanswered:
        return None
    request, why = unanswered[0]
    said = f"{request.method} {request.path}: {why}"
    if record.hung:
        return TrialVerdict(Reason.TRIAL_HUNG, TrialText.WORKER.format(when=_WHEN[record.step], said=said), record.step)
    text = TrialText.NO_ANSWER.format(when=_WHEN[record.step], said=said)
    return TrialVerdict(Reason.TRIAL_INCONCLUSIVE, text, record.step)
