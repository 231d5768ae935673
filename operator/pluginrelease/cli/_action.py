"""The actions on a release, which are annotations: their values, and who sets them."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.cli._verb import FIELD_MANAGER
from pluginrelease.core.errors import Refused
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.resources import JSON

# states of a revision that may have run everywhere
GOOD = (api.HistoryState.STABLE, api.HistoryState.SUPERSEDED)


def token(now: datetime) -> str:
    """A value that was never used before, and that tells people when it was: it keeps no secret."""
    return f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}-{secrets.token_hex(3)}"


async def annotate(cluster: Cluster, observed: JSON, annotation: str, value: str) -> None:
    """Sets the action's annotation on just this release."""
    found = {"apiVersion": api.API_VERSION, "kind": api.KIND, **observed}
    await cluster.annotate(found, {annotation: value}, FIELD_MANAGER)


def running(status: api.Status) -> set[str]:
    """Return the revisions that the gateways are to run now; after a failure these are the ones that were put back.

    Before any gateway was looked at it is the one that is wanted.
    """
    if not status.gateways:
        return {status.target_revision} if status.target_revision else set()
    return {row.revision for row in status.gateways if row.revision}


def choose(release: api.Release, revision: str | None) -> api.HistoryEntry:
    """The revision of the history to go back to; raises `Refused` with those that there are."""
    if revision is not None:
        return pick(release, revision)
    refuse_second_step(release)
    now = running(release.status)
    good = [entry for entry in release.status.history if entry.state in GOOD and entry.revision not in now]
    if not good:
        raise Refused(
            Reason.REVISION_NOT_FOUND, f"{capitalize(release)} has no other revision that ran", list_known(release)
        )
    return max(good, key=lambda entry: entry.number)


def pick(release: api.Release, revision: str) -> api.HistoryEntry:
    """The entry of this revision, or the only one that begins so."""
    found = [entry for entry in release.status.history if revision and entry.revision.startswith(revision)]
    exact = [entry for entry in found if entry.revision == revision]
    if len(exact or found) == 1:
        return (exact or found)[0]
    problem = "is the beginning of several revisions" if found else "is no revision"
    raise Refused(Reason.REVISION_NOT_FOUND, f"{revision!r} {problem} of {capitalize(release)}", list_known(release))


def refuse_second_step(release: api.Release) -> None:
    """What was put back after a failure is not left for a still older one without being told to."""
    failure = release.status.rollout.failure if release.status.rollout is not None else None
    back = put_back(release.status)
    if failure is not None and back:
        own = release.metadata
        raise Refused(
            Reason.ALREADY_PUT_BACK,
            f"revision {failure.revision} failed, and the operator has put back {' and '.join(back)}",
            f"To stay with it: pluginrelease rollback {own.name} -n {own.namespace} --to {back[0]}; for an older one "
            f"name that. {list_known(release)}",
        )


def put_back(status: api.Status) -> list[str]:
    """Return the revisions that entries go back to after a failure, each once, in the order of the entries."""
    failure = status.rollout.failure if status.rollout is not None else None
    if failure is None or failure.held:
        return []
    rows = (row for row in status.gateways if row.name in failure.gateways)
    return list(dict.fromkeys(row.stable.revision for row in rows if row.stable is not None))


def capitalize(release: api.Release) -> str:
    """Namespace and name."""
    return f"{release.metadata.namespace}/{release.metadata.name}"


def list_known(release: api.Release) -> str:
    """The revisions that there are, for an error's remedy."""
    entries = ", ".join(f"{entry.revision} ({entry.ref}, {entry.state})" for entry in release.status.history)
    return f"Its revisions: {entries}" if entries else "It has none"
