"""The result of a trial: the verdict, what each step took, answers before and after, and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pluginrelease.api.reasons import Reason
from pluginrelease.core.rollout import probe
from pluginrelease.core.rollout.probe import ProbeResponse
from pluginrelease.core.trial.records import Answer, StepRecord, TrialMemory
from pluginrelease.core.trial.verdict import TrialText, TrialVerdict

# characters of a body that are shown
BODY_SHOWN = 2000


@dataclass(frozen=True)
class PluginLine:
    """A line that the plugin logged."""

    level: str
    text: str


@dataclass(frozen=True)
class TrialResult:
    """All that a trial found. ``notes``: what differs from a gateway, and what a user should know."""

    verdict: TrialVerdict
    records: tuple[StepRecord, ...]
    memory: TrialMemory
    envoy: str | None = None
    log: tuple[PluginLine, ...] = ()
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the JSON that docs/try.md specifies."""
        verdict, memory = self.verdict, self.memory
        return {
            "verdict": str(verdict.reason),
            "message": verdict.sentence(),
            "passed": verdict.answer == 0,
            "step": None if verdict.step is None else str(verdict.step),
            "lines": list(verdict.lines),
            "envoy": self.envoy,
            "seconds": {str(record.step): round(record.seconds, 2) for record in self.records},
            "memoryMiB": {"base": memory.base, "rest": memory.rest, "peak": memory.peak},
            "requests": [
                {
                    "name": exchange.request.name,
                    "method": str(exchange.request.method),
                    "path": exchange.request.path,
                    "before": _describe(exchange.before),
                    "after": _describe(exchange.after[0] if exchange.after else None),
                    "connections": len(exchange.after),
                }
                for record in self.records
                for exchange in record.exchanges
            ],
            "log": [{"level": line.level, "text": line.text} for line in self.log],
            "notes": list(self.notes),
        }


def make_unavailable(said: str) -> TrialResult:
    """Return the result of a trial that could not begin."""
    text = TrialText.NOT_STARTED.format(said=said)
    return TrialResult(TrialVerdict(Reason.TRIAL_UNAVAILABLE, text), (), TrialMemory())


def _describe(answer: Answer | None) -> Mapping[str, Any] | None:
    if answer is None:
        return None
    if not isinstance(answer, ProbeResponse):
        return {"error": answer.why}
    return {
        "status": answer.status,
        "headers": [list(header) for header in answer.headers],
        "body": show_body(answer),
        "bodyBytes": len(answer.body),
    }


def show_body(answer: ProbeResponse) -> str:
    """Return the body as text, at most `BODY_SHOWN` characters; "…" ends one that is longer."""
    text = answer.body.decode(errors="replace")
    cut = len(text) > BODY_SHOWN or len(answer.body) >= probe.BODY_LIMIT
    return f"{text[:BODY_SHOWN]}…" if cut else text
