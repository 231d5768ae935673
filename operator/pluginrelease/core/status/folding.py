"""Combine the verdicts, errors and findings of all entries into those of the release.

With one entry nothing changes. With several, the worst counts, and the message names its entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pluginrelease import api
from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused, ReleaseError, Transient, Waiting
from pluginrelease.core.findings import Finding
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.core.rollout.report import EntryReport, Failure, Report
from pluginrelease.core.wording import count_noun

# from bad to good
_STATES = (State.UNHEALTHY, State.PENDING, State.UNKNOWN, State.LOADED)
_STATUSES = ("False", "Unknown", "True")
_ERRORS: tuple[type[ReleaseError], ...] = (Refused, Waiting, Transient)


def fold_verdicts(entries: Iterable[EntryReport]) -> Verdict | None:
    """Return the worst verdict with the pods of all, failures first; None if no entry was checked."""
    looked_at = [(entry.name, entry.verdict) for entry in entries if entry.verdict is not None]
    if len(looked_at) < 2:
        return looked_at[0][1] if looked_at else None
    name, worst = min(looked_at, key=lambda pair: _rank(pair[1]))
    pods = sorted((row for _, verdict in looked_at for row in verdict.pods), key=lambda row: _STATES.index(row.state))
    alike = [other for other, verdict in looked_at if verdict.state is worst.state]
    if worst.state is State.LOADED:
        loaded = sum(row.state is State.LOADED for row in pods)
        message = f"{count_noun(loaded, 'gateway pod')} of {count_noun(len(looked_at), 'gateway')} run the plugin"
        return Verdict(worst.state, worst.reason, message, tuple(pods))
    counted = f"{len(alike)} of {count_noun(len(looked_at), 'gateway')}"
    more = f" ({counted}: {', '.join(alike)})" if len(alike) > 1 else ""
    message = f"gateway {name}: {worst.message}{more}"
    return Verdict(worst.state, worst.reason, message[: api.MESSAGE_MAX], tuple(pods))


def _rank(verdict: Verdict) -> tuple[int, bool]:
    """Return the rank of a verdict. Gateways without a pod rank after those that are awaited."""
    return _STATES.index(verdict.state), not verdict.pods


def fold_failures(report: Report) -> Failure | None:
    """Return the release's own error; else the worst error if every entry failed; else None."""
    if report.failure is not None or not report.entries:
        return report.failure
    failures = [(entry.name, entry.failure) for entry in report.entries if entry.failure is not None]
    if len(failures) < len(report.entries):
        return None
    return name_failure(failures, len(report.entries))


def find_worst(report: Report) -> Failure | None:
    """Return the worst error of the entries, even if only some failed; else None."""
    return fold_failures(report) or left_out(report)


def left_out(report: Report) -> Failure | None:
    """Return the worst error of the entries that could not be placed, if others could; else None."""
    failures = [(entry.name, entry.failure) for entry in report.entries if entry.failure is not None]
    if report.failure is not None or not failures or len(failures) == len(report.entries):
        return None
    return name_failure(failures, len(report.entries))


def name_failure(failures: Sequence[tuple[str, Failure]], of: int) -> Failure:
    """Return the worst of the errors. If there are several entries, its message names the entry, and their number."""
    name, worst = min(failures, key=lambda pair: _error_rank(pair[1]))
    if of == 1:
        return worst
    error, counted = worst.error, f"{len(failures)} of {count_noun(of, 'gateway')}"
    return Failure(worst.step, error.reword(f"{counted}; gateway {name}: {error.message}"))


def _error_rank(failure: Failure) -> int:
    return next((rank for rank, kind in enumerate(_ERRORS) if isinstance(failure.error, kind)), len(_ERRORS))


def is_warning(word: str) -> bool:
    """Return True if a reason is reported beside Ready."""
    reason = Reason.read(word)
    return reason is not None and reason.is_warning


def _finding_rank(finding: Finding) -> tuple[int, bool]:
    """Return the rank of a finding. Of one status, a finding with a warning comes first."""
    return _STATUSES.index(finding.status), not is_warning(finding.reason)


def fold_findings(kind: ConditionType, found: Sequence[tuple[str, Finding]], of: int) -> Finding:
    """Return the one condition of several entries: the worst status, and the messages of those that have it."""
    worst = min((finding for _, finding in found), key=_finding_rank)
    alike = [(name, finding) for name, finding in found if finding.status == worst.status]
    messages = {finding.message for _, finding in alike}
    if of == 1 or len(messages) == 1:
        return worst
    text = "; ".join(f"gateway {name}: {finding.message}" for name, finding in alike)
    return Finding(kind, worst.status, worst.reason, text[: api.MESSAGE_MAX])
