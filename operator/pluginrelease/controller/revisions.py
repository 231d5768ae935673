"""The ControllerRevisions of a release: what can be rolled back to."""

from __future__ import annotations

from collections.abc import Collection

import structlog

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core import revision
from pluginrelease.core.errors import Refused
from pluginrelease.core.revision import JSON, Recorded
from pluginrelease.edges.kubernetes import resources
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.resources import CONTROLLER_REVISIONS

log = structlog.get_logger(__name__)


async def list_kept(cluster: Cluster, release: api.Release) -> list[JSON]:
    """Every ControllerRevision that carries the release's uid."""
    labels = {api.UID_LABEL: release.metadata.uid}
    found = await cluster.list(CONTROLLER_REVISIONS, release.metadata.namespace, labels)
    return [{**one, **resources.type_meta(CONTROLLER_REVISIONS)} for one in found]


async def recall(cluster: Cluster, release: api.Release, wanted: str) -> Recorded:
    """One kept revision; raises `Refused` (RevisionNotFound) when it is not kept (any more)."""
    name = revision.name(release, wanted)
    found = None
    if revision.is_identity(wanted):  # it may be anybody's text, and becomes part of a path
        found = await cluster.get(CONTROLLER_REVISIONS, release.metadata.namespace, name)
    if found is None or (found["metadata"].get("labels") or {}).get(api.UID_LABEL) != release.metadata.uid:
        raise Refused(
            Reason.REVISION_NOT_FOUND,
            f"revision {wanted} is not kept: there is no ControllerRevision {release.metadata.namespace}/{name}",
            "See which are: kubectl pluginrelease history; more are kept with spec.revisionHistoryLimit",
        )
    return revision.read(found)


async def keep(cluster: Cluster, release: api.Release, artifact: api.ArtifactStatus) -> Recorded:
    """Keeps what the release's spec says now, as its newest revision. Can be run again from any point."""
    there = {found["metadata"]["name"]: found for found in await list_kept(cluster, release)}
    newest = max((int(found["revision"]) for found in there.values()), default=0)
    wanted = revision.manifest(release, artifact, newest)
    known = there.get(wanted["metadata"]["name"])
    if known is not None and not revision.same_data(known, wanted):
        # a ControllerRevision's data never change: the same digest from another repository takes its place
        await cluster.delete(known)
        known = None
    if known is None or int(known["revision"]) < newest:
        wanted["revision"] = newest + 1
    elif known["metadata"].get("annotations", {}).get(api.REF_ANNOTATION) == artifact.ref:
        return revision.read(known)
    return revision.read(await cluster.apply(wanted, uid=known["metadata"]["uid"] if known else None))


async def prune(cluster: Cluster, release: api.Release, needed: Collection[str | None]) -> None:
    """Deletes the oldest of the revisions that nothing needs, beyond ``spec.revisionHistoryLimit``."""
    found = await list_kept(cluster, release)
    for old in revision.find_superfluous(release, found, needed):
        await cluster.delete(old)
        log.info("revision no longer kept", revision=old["metadata"]["name"])
