"""CheckImages: whether the running image, and those of a rollback, can still be fetched.

A settled release asks its registry for nothing else. If an image is gone, gateways that run it keep running. But a new
pod cannot fetch it, and neither can a rollback.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from pluginrelease.controller import artifacts, pulling, revisions
from pluginrelease.controller.image_checks import ImageKey
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.secrets import pull_secrets
from pluginrelease.controller.steps import Names
from pluginrelease.core.rollout import images
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.rollout.facts import EntryView, Facts
from pluginrelease.core.rollout.images import KeptImage
from pluginrelease.core.rollout.release_results import ImagesChecked
from pluginrelease.core.status import artifact_ready

DEADLINE = 5.0  # seconds for one question; only this pass's status waits for it


async def check_images(work: PassContext, facts: Facts, names: Names) -> ImagesChecked | None:
    """Report which images are gone; None during a rollout, or if nothing changed."""
    if not images.is_at_rest(facts):
        return None
    wanted = [(entry, image) for entry in facts.views(names) for image in images.list_kept(entry)]
    answers = await asyncio.gather(*(is_gone(work, entry, image) for entry, image in wanted))
    gone = [image for (_, image), answer in zip(wanted, answers, strict=True) if answer]
    finding = artifact_ready.conclude(facts.release.status, list(dict.fromkeys(gone)))
    return ImagesChecked(finding, artifact_ready.tell(facts.release.status, finding)) if finding else None


async def is_gone(work: PassContext, entry: EntryView, image: KeptImage) -> bool:
    """Return whether the registry has lost the image, by its answer of the last resync or a new one."""

    async def has() -> bool:
        candidate = await recall(work, entry, image)
        access = await pulling.find_access(work, candidate.placement)
        reference = artifacts.reference_of(candidate.artifact.image, None)
        return await work.context.shelf.has(reference, replace(access, deadline_seconds=DEADLINE))

    secret = pull_secrets.named(entry.placement())
    login = (secret.namespace, secret.name) if secret is not None else ("", "")
    return await work.context.images.is_gone(
        ImageKey(image.image, *login),
        has,
        now=work.now(),
        resync=work.settings.resync,
        was_gone=artifact_ready.is_gone(entry.release.status),
    )


async def recall(work: PassContext, entry: EntryView, image: KeptImage) -> Candidate:
    """Return the revision of an image: the one that the object carries, or a kept older one."""
    return entry.carried if image.runs else await revisions.recall_for(work.reader, entry, image.revision)
