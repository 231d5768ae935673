"""The ControllerRevisions of a release, which it can be rolled back to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import config_secrets, writing
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.reading import ObjectReader
from pluginrelease.core import revision
from pluginrelease.core.errors import Refused, Transient
from pluginrelease.core.mesh.placement import Placement
from pluginrelease.core.revision import JSON, Recorded
from pluginrelease.core.rollout import plan
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.rollout.facts import EntryView
from pluginrelease.edges.kubernetes.resources import CONTROLLER_REVISIONS


async def recall(reader: ObjectReader, release: api.Release, wanted: str) -> Recorded:
    """Return one kept revision without its values of ``configFrom``.

    Raises `Refused` (RevisionNotFound) if it is not kept, or no longer kept.
    """
    name = revision.name(release, wanted)
    found = None
    if revision.is_identity(wanted):  # the text comes from a user and becomes part of a path
        found = await get_own(reader, release, name)
    if found is None:
        raise Refused(
            Reason.REVISION_NOT_FOUND,
            f"revision {wanted} is not kept: there is no ControllerRevision {release.metadata.namespace}/{name}",
            "See which are: kubectl pluginrelease history; more are kept with spec.revisionHistoryLimit",
        )
    return revision.read(found)


async def recall_whole(reader: ObjectReader, release: api.Release, wanted: str) -> Recorded:
    """Return one kept revision with its values. Raises `Refused` (RevisionNotFound, ConfigNotKept)."""
    kept = await recall(reader, release, wanted)
    if kept.config is None:
        return kept
    return replace(kept, config=await config_secrets.recall(reader, release, kept.revision, kept.config.digest))


async def recall_for(reader: ObjectReader, entry: EntryView, wanted: str) -> Candidate:
    """Return one kept revision as this entry sees it. Raises `Refused` (RevisionNotFound, ConfigNotKept)."""
    return entry.recalled(await recall_whole(reader, entry.release, wanted))


async def get_own(reader: ObjectReader, release: api.Release, name: str) -> JSON | None:
    """Return the release's ControllerRevision of this name; None if there is none."""
    found = await reader.get(CONTROLLER_REVISIONS, release.metadata.namespace, name)
    return found if found is not None and is_own(release, found) else None


def is_own(release: api.Release, found: JSON) -> bool:
    """Return whether a ControllerRevision carries the release's uid, or was the release's before a restore."""
    return plan.is_ours(release, found) or plan.find_owners_left(release, found) is not None


async def keep(work: PassContext, placement: Placement, artifact: api.ArtifactStatus) -> Recorded:
    """Keep a revision as the release's newest one, its values first. It can run again from any point."""
    release, config = placement.release, placement.config_digest
    revised = revision.compute_identity(release.spec, artifact.digest, config)
    await config_secrets.keep(work, release, revised, placement.config)
    if has_none(work, release) and (kept := await keep_first(work, release, artifact, config)) is not None:
        return kept
    there = {found["metadata"]["name"]: found for found in await work.reader.revisions(release)}
    newest = max((int(found["revision"]) for found in there.values()), default=0)
    wanted = revision.manifest(release, artifact, newest, config)
    known = there.get(wanted["metadata"]["name"]) or await get_own(work.reader, release, wanted["metadata"]["name"])
    if known is not None and not revision.same_data(known, wanted):
        # a ControllerRevision's data never change: it is replaced if the same digest comes from another repository
        await writing.delete(work, release, known)
        known = None
    if known is None or int(known["revision"]) < newest:
        wanted["revision"] = newest + 1
    elif is_as_wanted(release, known, artifact):
        return revision.read(known)
    else:
        wanted["revision"] = known["revision"]
    own = known["metadata"] if known else {}
    first = plan.find_first(release, known) if known else None
    write = plan.Write(
        wanted, own.get("uid"), "the revision is kept for a rollback", version=own.get("resourceVersion"), first=first
    )
    note_kept(work, release, wanted)
    return revision.read(await writing.apply(work, release, write))


def is_as_wanted(release: api.Release, known: JSON, artifact: api.ArtifactStatus) -> bool:
    """Return whether a ControllerRevision belongs to the release and has the reference that the spec has now."""
    is_current = plan.labels(known).get(api.UID_LABEL) == release.metadata.uid
    return is_current and known["metadata"].get("annotations", {}).get(api.REF_ANNOTATION) == artifact.ref


def has_none(work: PassContext, release: api.Release) -> bool:
    """Return whether the release was created while this process watched, and has no kept revision."""
    context, uid = work.context, release.metadata.uid
    is_new = context.store is not None and context.store.is_newcomer(uid) and uid not in context.kept
    return is_new and not release.status.history


async def keep_first(
    work: PassContext, release: api.Release, artifact: api.ArtifactStatus, config: str | None
) -> Recorded | None:
    """Keep the first revision without listing others; None if its name is taken, as after a restore."""
    wanted = revision.manifest(release, artifact, 1, config)
    note_kept(work, release, wanted)
    try:
        return revision.read(
            await writing.apply(work, release, plan.Write(wanted, None, "the revision is kept for a rollback"))
        )
    except (Refused, Transient) as error:
        if isinstance(error, Transient) and error.reason is not Reason.CONFLICT:
            raise
        return None


def note_kept(work: PassContext, release: api.Release, wanted: JSON) -> None:
    """Note a revision of a new release before it is written, so that all its revisions are known without a list."""
    store, uid = work.context.store, release.metadata.uid
    if store is not None and store.is_newcomer(uid):
        work.context.kept.setdefault(uid, set()).add(wanted["metadata"]["name"])


def may_be_superfluous(work: PassContext, release: api.Release) -> bool:
    """Return True if there may be more revisions than ``spec.revisionHistoryLimit``."""
    kept = work.context.kept.get(release.metadata.uid)
    return kept is None or len(kept) > release.spec.revision_history_limit


async def keep_adopted(work: PassContext, release: api.Release, kept: JSON) -> None:
    """Keep an object before it is taken over, unless it is kept already."""
    if await work.reader.get(CONTROLLER_REVISIONS, release.metadata.namespace, kept["metadata"]["name"]) is None:
        note_kept(work, release, kept)
        await writing.apply(
            work, release, plan.Write(kept, None, why="the adopted object is kept, to restore it later")
        )


async def prune(work: PassContext, release: api.Release, needed: Collection[str | None]) -> None:
    """Delete the oldest revisions that nothing needs, beyond ``spec.revisionHistoryLimit``."""
    if not may_be_superfluous(work, release):
        return
    for old in revision.find_superfluous(release, await work.reader.revisions(release), needed):
        if "config" in (old.get("data") or {}):  # the values first: a kill between the two leaves none behind
            await config_secrets.forget(work, release, old["metadata"]["name"])
        await writing.delete(work, release, old)
