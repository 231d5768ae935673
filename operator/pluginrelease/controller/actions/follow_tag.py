"""FollowTag: ask the registry what the reference names now. A new digest begins a rollout.

If the registry does not answer, this is reported and changes nothing: plugins keep running.
"""

from __future__ import annotations

import structlog

from pluginrelease import api
from pluginrelease.api import ConditionType, times
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import artifacts, pulling
from pluginrelease.controller.actions import consent
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.steps import Names, Once, Step
from pluginrelease.core import sources
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.findings import Finding
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.registry import tags
from pluginrelease.core.rollout import decisions
from pluginrelease.core.rollout.actions import AskConsent
from pluginrelease.core.rollout.facts import Facts
from pluginrelease.core.rollout.release_results import ReleaseResult, TagAsked, TagMoved
from pluginrelease.core.rollout.report import Event
from pluginrelease.core.status import artifact_ready

log = structlog.get_logger(__name__)


async def follow_tag(work: PassContext, facts: Facts, names: Names) -> ReleaseResult | None:
    """Return what the tag names now. The Secret of the first entry whose namespace allows the release is used."""
    placement = await find_consenting(work, facts, names)
    known = facts.release.status.artifact
    if placement is None or known is None or not tags.is_due(facts.release, work.now()):
        return None
    asked_at = times.to_seconds(work.now())
    try:
        ref, digest, events = await ask(work, facts.release, placement)
    except ReleaseError as error:
        text = f"{known.ref} was {known.digest} and could not be asked for again: {error.reason}: {error.message}"
        finding = Finding(ConditionType.ARTIFACT_READY, "True", Reason.TAG_NOT_FOLLOWED, text)
        return TagAsked(known.model_copy(update={"asked_at": asked_at}), finding)
    if tags.is_news(facts.release, digest):
        log.info("the tag has another digest now", ref=ref, was=known.digest, now=digest)
        return TagMoved(begin_again(facts, work), events)
    settled = tags.update_artifact(known, ref, digest, asked_at)
    return TagAsked(settled, artifact_ready.describe_ready(settled), events)


def begin_again(facts: Facts, work: PassContext) -> decisions.RolloutStart:
    """Return a new rollout of the same spec."""
    under_way, handled = facts.rollout, facts.report.handled or api.Handled()
    assert under_way is not None  # noqa: S101  a tag is followed in the course of a rollout
    return decisions.begin_again(facts.release, decisions.RolloutStart(under_way, handled), work.now())


async def find_consenting(work: PassContext, facts: Facts, names: Names) -> Placement | None:
    """Return the first entry whose namespace allows the release; without one, no rollout begins."""
    for entry in facts.views(names):
        try:
            if AskConsent not in entry.entry.done:
                await consent.check_permission(work, entry)
        except ReleaseError as error:
            log.info("could not resolve the tag again", gateway=entry.name, reason=error.reason, message=error.message)
        else:
            return entry.placement()
    return None


async def ask(work: PassContext, release: api.Release, placement: Placement) -> tuple[str, str, tuple[Event, ...]]:
    """Return the reference that the spec names now, its digest, and events about it. Raises `ReleaseError`."""
    access, shelf = await pulling.find_access(work, placement), work.context.shelf
    image = sources.find_image(release.spec.artifact)
    named = await pulling.resolve_name(shelf, image, release.status.artifact, access)
    found = await shelf.ask(artifacts.reference_of(named.ref, None), access)
    return named.ref, str(found.digest), named.events


STEPS: tuple[Step, ...] = (Once(ConditionType.APPLIED, follow_tag),)
