"""The actions on a release are annotations: their values, and the commands that set them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.cli import _wait
from pluginrelease.cli import wait as waiting
from pluginrelease.cli._verb import (
    FIELD_MANAGER,
    ClusterTarget,
    observe,
    output_option,
    print_json,
    run,
    timeout_option,
    with_target_options,
)
from pluginrelease.core.errors import Refused
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.resources import JSON

# states of a revision that may have run everywhere
GOOD = (api.HistoryState.STABLE, api.HistoryState.SUPERSEDED)


def token(now: datetime) -> str:
    """Return a value that was never used before and shows when it was made. It is no secret."""
    return f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}-{secrets.token_hex(3)}"


def with_action_options(wait_help: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command what every action takes: NAME, --wait with this help, --timeout, --output, and where."""
    waits = click.option("--wait", "and_wait", is_flag=True, help=wait_help)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for add in (with_target_options, output_option, timeout_option, waits, click.argument("name", metavar="NAME")):
            command = add(command)
        return command

    return decorate


def request(target: ClusterTarget, name: str, annotation: str, value: str, *, without: str = "") -> None:
    """Set an action's annotation on a release, as `annotate`. Raises `Refused` (ReleaseNotFound)."""

    async def ask(cluster: Cluster) -> None:
        await annotate(cluster, await observe(cluster, target.namespace, name), annotation, value, without=without)

    run(target, ask)


def conclude(
    target: ClusterTarget, name: str, goal: _wait.WaitGoal | None, patience: float, output: str, **facts: str
) -> None:
    """Wait for a goal and exit as `wait` does; without a goal, print what was requested as JSON."""
    if goal is not None:
        outcome = _wait.wait(target, name, goal, patience)
        waiting.show(outcome, target.namespace, name, output)
        _wait.leave(outcome)
    elif output == "json":
        print_json({"namespace": target.namespace, "name": name, **facts})


async def annotate(cluster: Cluster, observed: JSON, annotation: str, value: str, *, without: str = "") -> None:
    """Set the action's annotation on exactly this release; the same request removes the one named ``without``."""
    found = {"apiVersion": api.API_VERSION, "kind": api.KIND, **observed}
    gone = {without: None} if without else {}
    await cluster.annotate(found, {annotation: value, **gone}, FIELD_MANAGER)


def running(status: api.Status) -> set[str]:
    """Return the revisions that the gateways should run now; after a failure these are the fallbacks.

    Before a gateway was observed it is the target revision.
    """
    if not status.gateways:
        return {status.target_revision} if status.target_revision else set()
    return {row.revision for row in status.gateways if row.revision}


@dataclass(frozen=True)
class Choice:
    """What to go back to: the annotation's value, and a text for people."""

    wish: str
    title: str


def choose(release: api.Release, wish: str | None) -> Choice:
    """Return what to go back to. Raises `Refused` with the possible values."""
    if wish == api.ADOPTED_WISH:
        return choose_adopted(release)
    found = choose_revision(release, wish)
    return Choice(found.revision, f"revision {found.revision} ({found.ref})")


def choose_adopted(release: api.Release) -> Choice:
    """Return the objects as they were before adoption."""
    names = [row.name for row in release.status.gateways if row.adopted is not None]
    if not names:
        raise Refused(
            Reason.REVISION_NOT_FOUND,
            f"no entry of gateways of {capitalize(release)} has adopted an object",
            f"Name a revision. {list_known(release)}",
        )
    return Choice(api.ADOPTED_WISH, f"the objects as they were before it adopted them ({', '.join(names)})")


def choose_revision(release: api.Release, revision: str | None) -> api.HistoryEntry:
    """Return the history's revision to go back to. Raises `Refused` with the revisions that exist."""
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
    """Return the entry of this revision, or the only one that begins with this text."""
    found = [entry for entry in release.status.history if revision and entry.revision.startswith(revision)]
    exact = [entry for entry in found if entry.revision == revision]
    if len(exact or found) == 1:
        return (exact or found)[0]
    problem = "is the beginning of several revisions" if found else "is no revision"
    raise Refused(Reason.REVISION_NOT_FOUND, f"{revision!r} {problem} of {capitalize(release)}", list_known(release))


def refuse_second_step(release: api.Release) -> None:
    """Raise `Refused` if a rollback after a failure would be followed by a second step back without ``--to``."""
    failure = release.status.rollout.failure if release.status.rollout is not None else None
    back = put_back(release.status)
    if failure is not None and back:
        own = release.metadata
        raise Refused(
            Reason.ALREADY_PUT_BACK,
            f"revision {failure.revision} failed, and the operator has already restored {' and '.join(back)}",
            f"To keep that revision: pluginrelease rollback {own.name} -n {own.namespace} --to {back[0]}. "
            f"For an older one, give its name. {list_known(release)}",
        )


def put_back(status: api.Status) -> list[str]:
    """Return the revisions that entries go back to after a failure, each once, in the order of the entries."""
    failure = status.rollout.failure if status.rollout is not None else None
    if failure is None or failure.held:
        return []
    rows = (row for row in status.gateways if row.name in failure.gateways)
    return list(dict.fromkeys(row.stable.revision for row in rows if row.stable is not None))


def capitalize(release: api.Release) -> str:
    """Return namespace and name."""
    return f"{release.metadata.namespace}/{release.metadata.name}"


def list_known(release: api.Release) -> str:
    """Return the known revisions for an error's remedy."""
    entries = ", ".join(f"{entry.revision} ({entry.ref}, {entry.state})" for entry in release.status.history)
    return f"Its revisions: {entries}" if entries else "It has none"
