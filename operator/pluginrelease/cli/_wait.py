"""When a release has got to where somebody waits for it, and the waiting."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.cli._verb import ClusterTarget, Code, refuse_missing, run, say
from pluginrelease.cli._view import one_line
from pluginrelease.core.apiserver import stored
from pluginrelease.core.errors import ReleaseError, Transient
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.resources import RELEASES

RECONNECT_SECONDS = 1.0
SHOWN_MESSAGE = 200


class WaitGoal(StrEnum):
    """READY: runs everywhere, or never will by itself. SETTLED: the operator does nothing more by itself.

    ROLLED_BACK: a revision that somebody asked for runs everywhere in place of the spec's, or never will.
    """

    READY = "ready"
    SETTLED = "settled"
    ROLLED_BACK = "rolled-back"


@dataclass(frozen=True)
class Outcome:
    """What the waiting ended with; ``code`` is the exit code."""

    code: Code
    reason: str
    message: str

    @property
    def word(self) -> str:
        """Return the outcome for scripts that read JSON."""
        if self.code is Code.OK:
            return str(WaitGoal.ROLLED_BACK if self.reason == Reason.ROLLBACK_TO else WaitGoal.READY)
        return self.code.name.lower()


def judge(release: api.Release, goal: WaitGoal) -> Outcome | None:
    """Whether the waiting is over; None: not yet.

    A status speaks of the newest generation, and of the newest retry and rollback, or of nothing.
    """
    ready = condition(release, api.ConditionType.READY)
    if ready is None or not is_answered(release):
        return None
    moves = is_true(release, api.ConditionType.RECONCILING)
    stalled = is_true(release, api.ConditionType.STALLED)
    runs = goal is WaitGoal.ROLLED_BACK and stalled and ready.reason == Reason.ROLLBACK_TO
    if ready.status == "True" or runs:
        return Outcome(Code.OK, ready.reason, ready.message)
    if (stalled and goal is not WaitGoal.SETTLED) or (goal is WaitGoal.SETTLED and not moves):
        return Outcome(Code.FAILED, ready.reason, ready.message)
    return None


def is_answered(release: api.Release) -> bool:
    """Whether the status is about what is asked for now: the spec, and both action annotations."""
    handled, asked = release.status.handled or api.Handled(), release.metadata.annotations
    return (
        release.status.observed_generation == release.metadata.generation
        and asked.get(api.RETRY_ANNOTATION) in (None, handled.retry)
        and asked.get(api.ROLLBACK_ANNOTATION) in (None, handled.rollback_to)
    )


def condition(release: api.Release, kind: api.ConditionType) -> api.Condition | None:
    """The condition of a type, if it is there."""
    return next((condition for condition in release.status.conditions if condition.type == kind), None)


def is_true(release: api.Release, kind: api.ConditionType) -> bool:
    """Whether a condition is there and True."""
    found = condition(release, kind)
    return found is not None and found.status == "True"


def progress(release: api.Release) -> str:
    """One line that tells how far a release is."""
    if not is_answered(release):
        return "the operator has not looked at what is asked for now"
    ready, seen = condition(release, api.ConditionType.READY), release.status.summary
    count = f" gateways {seen.gateways}, pods {seen.pods} loaded" if seen else ""
    why = f": {ready.reason}: {ready.message}" if ready else ""
    line = one_line(f"{release.status.phase or 'New'}{count}{why}")
    return line if len(line) <= SHOWN_MESSAGE else line[: SHOWN_MESSAGE - 1] + "…"


async def until(cluster: Cluster, namespace: str, name: str, goal: WaitGoal, tell: Callable[[str], None]) -> Outcome:
    """Follows the release to its outcome. A connection that breaks is made anew; one that never was is an error."""
    connected, told = False, ""
    while True:
        try:
            async with aclosing(cluster.follow(RELEASES, namespace, name)) as changes:
                async for found in changes:
                    connected = True
                    if found is None:
                        raise refuse_missing(namespace, name)
                    release = stored.read(found)
                    outcome = judge(release, goal)
                    if outcome is not None:
                        return outcome
                    told, before = progress(release), told
                    if told != before:
                        tell(told)
        except Transient as error:
            if not connected:
                raise
            tell(f"{error.reason}: {error.message}; trying again")
            await asyncio.sleep(RECONNECT_SECONDS)


def wait(target: ClusterTarget, name: str, goal: WaitGoal, timeout: float) -> Outcome:
    """The outcome within ``timeout`` seconds, else `Transient` (NotInTime); what is on the way is told on stderr."""
    last = ["nothing was seen of it"]

    def tell(line: str) -> None:
        last.append(line)
        say(line)

    namespace = target.namespace

    def late() -> ReleaseError:
        text = f"{namespace}/{name} is not {goal} after {timeout:g} s; last: {last[-1]}"
        return Transient(Reason.NOT_IN_TIME, text, "Look with `pluginrelease status`, or give it more --timeout")

    return run(target, lambda cluster: until(cluster, namespace, name, goal, tell), deadline=timeout, late=late)


def leave(outcome: Outcome) -> None:
    """Ends the process with the outcome's exit code."""
    sys.exit(outcome.code)
