"""The steps of actions, and how they run.

A step names the condition that it is about, and what its error ends. It returns a result or raises `ReleaseError`,
which only this module catches. Errors become part of the facts, so that the pass always reaches its ending.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

import structlog

from pluginrelease.api import ConditionType
from pluginrelease.api.reasons import Reason
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.core.errors import OwnFault, ReleaseError
from pluginrelease.core.rollout.actions import Action
from pluginrelease.core.rollout.facts import EntryView, Facts, concerned_by
from pluginrelease.core.rollout.release_results import ReleaseResult
from pluginrelease.core.rollout.report import Failure
from pluginrelease.core.rollout.results import EntryResult
from pluginrelease.core.status import folding

log = structlog.get_logger(__name__)

Names = frozenset[str]
ForEntry = Callable[[PassContext, EntryView], Awaitable[EntryResult | None]]
ForRelease = Callable[[PassContext, Facts, Names], Awaitable[ReleaseResult | None]]


@dataclass(frozen=True)
class Once:
    """A step about the release. Its error ends the pass. ``quiet``: it ends only the action, and is only logged."""

    about: ConditionType
    act: ForRelease
    quiet: bool = False

    async def run(self, work: PassContext, facts: Facts, names: Names) -> tuple[Facts, Names]:
        """Act once for all these entries; return the facts, and the entries that continue."""
        try:
            result = await self.act(work, facts, names)
        except ReleaseError as error:
            if self.quiet:
                log.warning(
                    "a step failed, and the pass continues",
                    step=self.act.__name__,
                    reason=error.reason,
                    message=error.message,
                )
                return facts, frozenset()
            return fail(facts, Failure(self.about, error)), frozenset()
        if result is None:
            return facts, names
        after = result.add(facts)
        return after, names - (failed_entries(after) - failed_entries(facts))


@dataclass(frozen=True)
class Each:
    """A step about one entry, for all entries at once. Its error ends that entry's part of the pass.

    ``quiet``: the error ends the entry's part of the action and is only logged, unless it is an internal error.
    ``goes_on``: the entry continues after its error.
    """

    about: ConditionType
    act: ForEntry
    quiet: bool = False
    goes_on: bool = False

    async def run(self, work: PassContext, facts: Facts, names: Names) -> tuple[Facts, Names]:
        """Act for each of these entries; return the facts, and the entries that continue."""
        views = facts.views(names)
        results = await run_all(work, self.act, views)
        is_over = facts.failure is not None  # the pass already has an error
        for view, result in zip(views, results, strict=True):
            if isinstance(result, ReleaseError):
                is_expected = self.quiet and not isinstance(result, OwnFault)
                facts = self._note(facts, view.name, result, quiet=is_expected or is_over)
                names = names if self.goes_on else names - {view.name}
            elif result is not None:
                facts = result.add(facts, view.name)
        return facts, names

    def _note(self, facts: Facts, name: str, error: ReleaseError, *, quiet: bool) -> Facts:
        row = facts.release.status.gateway(name)
        level = choose_level(error, row.reason if row is not None else None)
        log.log(
            level, "entry ended early", gateway=name, step=self.act.__name__, reason=error.reason, message=error.message
        )
        return facts if quiet else facts.entry_failed(name, Failure(self.about, error))


@dataclass(frozen=True)
class EachOrNone:
    """A step about one entry, for all entries at once. An error of one entry ends the pass for all."""

    about: ConditionType
    act: ForEntry

    async def run(self, work: PassContext, facts: Facts, names: Names) -> tuple[Facts, Names]:
        """Act for each of these entries; return the facts, and the entries that continue."""
        views = facts.views(names)
        results = await run_all(work, self.act, views)
        refusals = [
            (view.name, Failure(self.about, result))
            for view, result in zip(views, results, strict=True)
            if isinstance(result, ReleaseError)
        ]
        if refusals:
            return fail(facts, folding.name_failure(refusals, len(facts.release.spec.gateways))), frozenset()
        for view, result in zip(views, results, strict=True):
            if result is not None and not isinstance(result, ReleaseError):
                facts = result.add(facts, view.name)
        return facts, names


Step = Once | Each | EachOrNone


def failed_entries(facts: Facts) -> Names:
    """Return the entries whose part of the pass has ended with an error."""
    return frozenset(entry.name for entry in facts.entries if entry.has_failed)


async def run_all(
    work: PassContext, act: ForEntry, views: Sequence[EntryView]
) -> list[EntryResult | ReleaseError | None]:
    """Act for all entries at once; return results and errors in their order. Raises only if it is cancelled.

    An internal error becomes the error of its entry, so that the results of the other entries are kept.
    """
    results = await asyncio.gather(*(act_bound(work, act, view) for view in views), return_exceptions=True)
    return [to_result(act, result) for result in results]


def to_result(act: ForEntry, result: EntryResult | BaseException | None) -> EntryResult | ReleaseError | None:
    """Return what a step returned or raised; turn an internal error into the `OwnFault` that the user sees."""
    if not isinstance(result, BaseException) or isinstance(result, ReleaseError):
        return result
    if not isinstance(result, Exception):
        raise result
    log.error("internal error", step=act.__name__, exc_info=result)
    return describe_fault(result)


async def act_bound(work: PassContext, act: ForEntry, view: EntryView) -> EntryResult | None:
    """Act for one entry, and add its name to each log line."""
    with structlog.contextvars.bound_contextvars(gateway=view.name):
        return await act(work, view)


async def run_action(work: PassContext, facts: Facts, action: Action, steps: Collection[Step]) -> Facts:
    """Run an action's steps in order; return the facts after it. An internal error ends the pass like any other."""
    names = frozenset(concerned_by(action))
    for number, step in enumerate(steps):
        if number and not names:
            break
        await work.context.right_of_way.give_way()
        try:
            facts, names = await step.run(work, facts, names)
        except Exception as error:
            log.exception("internal error", action=type(action).__name__, step=step.act.__name__)
            facts, names = fail(facts, Failure(step.about, describe_fault(error))), frozenset()
    return facts.after(action)


def describe_fault(error: BaseException) -> OwnFault:
    """Return the error that a user sees for an internal error."""
    text = f"the operator failed with {type(error).__name__}; its log has the details"
    return OwnFault(Reason.INTERNAL_ERROR, text, "Please report it")


def fail(facts: Facts, failure: Failure) -> Facts:
    """Return the facts with the error that ends the pass."""
    error, known = failure.error, facts.release.status.condition(failure.step)
    level = choose_level(error, known.reason if known is not None else None)
    log.log(level, "pass ended early", step=str(failure.step), reason=error.reason, message=error.message)
    return facts.failed(failure)


def choose_level(error: ReleaseError, known: str | None) -> int:
    """Return the level of an error's line: debug if the status already has its reason, as of a tag that is awaited."""
    return logging.DEBUG if known == error.reason else logging.INFO
