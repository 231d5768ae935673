"""Decide when a release has reached the goal of a wait, and wait for it."""

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
from pluginrelease.core import sources
from pluginrelease.core.apiserver import stored
from pluginrelease.core.errors import ReleaseError, Transient
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.resources import RELEASES

RECONNECT_SECONDS = 1.0
SHOWN_MESSAGE = 200


class WaitText(StrEnum):
    """The wording of this module; tests compare reasons and named values."""

    UNSEEN = "the operator has not reconciled the newest request yet"
    NOT_FOUND_YET = "the release was not found yet"
    OTHER_IMAGE = "its spec has the image {found}, and not yet {wanted}"


class WaitGoal(StrEnum):
    """READY: it runs everywhere, or a user must act. SETTLED: the operator has nothing left to do.

    ROLLED_BACK: the revision of a rollback runs everywhere instead of the spec's, or a user must act. OFF: no gateway
    has the plugin, because a user switched it off.
    """

    READY = "ready"
    SETTLED = "settled"
    ROLLED_BACK = "rolled-back"
    OFF = "off"


# goals that a user asks for instead of the spec: Ready is False when they are reached
_REACHED = {WaitGoal.ROLLED_BACK: Reason.ROLLBACK_TO, WaitGoal.OFF: Reason.SWITCHED_OFF}


@dataclass(frozen=True)
class Outcome:
    """The result of a wait. ``code`` is the exit code."""

    code: Code
    reason: str
    message: str

    @property
    def word(self) -> str:
        """Return the outcome for scripts that read JSON."""
        if self.code is Code.OK:
            return str(next((goal for goal, reason in _REACHED.items() if self.reason == reason), WaitGoal.READY))
        return self.code.name.lower()


def judge(release: api.Release, goal: WaitGoal, image: str | None = None) -> Outcome | None:
    """Return the outcome if the wait is over; None if not yet.

    A status counts only if it is about the newest generation, retry and rollback. With ``image``, it counts only if the
    spec has that reference: a commit may not have come to the cluster yet.
    """
    ready = condition(release, api.ConditionType.READY)
    if ready is None or not is_answered(release) or not has_image(release, image):
        return None
    moves = is_true(release, api.ConditionType.RECONCILING)
    stalled = is_true(release, api.ConditionType.STALLED)
    is_reached = stalled and ready.reason == _REACHED.get(goal) and (goal is not WaitGoal.OFF or is_off(release))
    if (ready.status == "True" and goal is not WaitGoal.OFF) or is_reached:
        return Outcome(Code.OK, ready.reason, ready.message)
    if (stalled and goal is not WaitGoal.SETTLED) or (goal is WaitGoal.SETTLED and not moves):
        return Outcome(Code.FAILED, ready.reason, ready.message)
    return None


def is_off(release: api.Release) -> bool:
    """Return whether no gateway has the plugin; False while it is still being removed."""
    return all(row.state is api.GatewayState.OFF for row in release.status.gateways)


def has_image(release: api.Release, image: str | None) -> bool:
    """Return whether the spec has this reference, as it is written; None: any."""
    return image is None or find_reference(release) == image


def find_reference(release: api.Release) -> str:
    """Return the reference of the spec's image, as it is written."""
    return sources.find_image(release.spec.artifact).ref


def is_answered(release: api.Release) -> bool:
    """Return whether the status is about the current spec and every command."""
    handled, asked = release.status.handled or api.Handled(), release.metadata.annotations
    tokens = {
        api.OFF_ANNOTATION: handled.off,
        api.ON_ANNOTATION: handled.on,
        api.RETRY_ANNOTATION: handled.retry,
        api.ROLLBACK_ANNOTATION: handled.rollback_to,
    }
    return release.status.observed_generation == release.metadata.generation and all(
        asked.get(command) in (None, token) for command, token in tokens.items()
    )


def condition(release: api.Release, kind: api.ConditionType) -> api.Condition | None:
    """Return the condition of a type, or None."""
    return release.status.condition(kind)


def is_true(release: api.Release, kind: api.ConditionType) -> bool:
    """Return whether a condition exists and is True."""
    found = condition(release, kind)
    return found is not None and found.status == "True"


def progress(release: api.Release, image: str | None = None) -> str:
    """Return the progress of a release in one line."""
    if not has_image(release, image):
        return one_line(WaitText.OTHER_IMAGE.format(found=find_reference(release), wanted=image))
    if not is_answered(release):
        return str(WaitText.UNSEEN)
    ready, seen = condition(release, api.ConditionType.READY), release.status.summary
    count = f" gateways {seen.gateways}, pods {seen.pods} loaded" if seen else ""
    why = f": {ready.reason}: {ready.message}" if ready else ""
    line = one_line(f"{release.status.phase or 'New'}{count}{why}")
    return line if len(line) <= SHOWN_MESSAGE else line[: SHOWN_MESSAGE - 1] + "…"


@dataclass(frozen=True)
class Awaited:
    """Which release a wait is for, what it should come to, and with which image; None: the one that its spec has."""

    namespace: str
    name: str
    goal: WaitGoal
    image: str | None = None


async def until(cluster: Cluster, awaited: Awaited, tell: Callable[[str], None]) -> Outcome:
    """Follow the release to its outcome. Reconnect if a connection breaks; fail if the first one fails.

    One that is not there is an error, unless an image is awaited: then a commit may still create it.
    """
    connected, told = False, ""
    while True:
        try:
            async with aclosing(cluster.follow(RELEASES, awaited.namespace, awaited.name)) as changes:
                async for found in changes:
                    connected = True
                    if found is None and awaited.image is None:
                        raise refuse_missing(awaited.namespace, awaited.name)
                    release = None if found is None else stored.read(found)
                    outcome = judge(release, awaited.goal, awaited.image) if release else None
                    if outcome is not None:
                        return outcome
                    now = progress(release, awaited.image) if release else str(WaitText.NOT_FOUND_YET)
                    told, before = now, told
                    if told != before:
                        tell(told)
        except Transient as error:
            if not connected:
                raise
            tell(f"{error.reason}: {error.message}; trying again")
            await asyncio.sleep(RECONNECT_SECONDS)


def wait(target: ClusterTarget, name: str, goal: WaitGoal, timeout: float, image: str | None = None) -> Outcome:
    """Return the outcome within ``timeout`` seconds, else raise `Transient` (NotInTime); print progress to stderr."""
    last = [str(WaitText.NOT_FOUND_YET)]

    def tell(line: str) -> None:
        last.append(line)
        say(line)

    awaited = Awaited(target.namespace, name, goal, image)

    def late() -> ReleaseError:
        text = f"{awaited.namespace}/{name} is not {goal} after {timeout:g} s; last: {last[-1]}"
        return Transient(Reason.NOT_IN_TIME, text, "Run `pluginrelease status` to see why, or raise --timeout")

    return run(target, lambda cluster: until(cluster, awaited, tell), deadline=timeout, late=late)


def leave(outcome: Outcome) -> None:
    """Exit with the outcome's exit code."""
    sys.exit(outcome.code)
