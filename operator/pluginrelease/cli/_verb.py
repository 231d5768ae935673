"""What the commands for a release share: cluster, release, deadline, and exit code."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

import click

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.cli._view import one_line
from pluginrelease.core.apiserver import stored
from pluginrelease.core.apiserver.answers import NotFound
from pluginrelease.core.errors import Refused, ReleaseError, Transient
from pluginrelease.edges.kubernetes import login
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.kubernetes.resources import RELEASES

JSON = dict[str, Any]
Result = TypeVar("Result")

FIELD_MANAGER = "pluginrelease-cli"
# a command without --wait ends by then, even if the API server accepts and never answers
DEADLINE_SECONDS = 60.0


class Code(IntEnum):
    """Exit codes; docs/cli.md has the table."""

    OK = 0
    FAILED = 1
    USAGE = 2
    TIMEOUT = 3
    NOT_FOUND = 4
    ERROR = 5


# What a user at a terminal can do, where a release's own remedy names the operator.
REMEDIES = {
    Reason.FORBIDDEN: "Ask for the ClusterRole view in its namespace to read, edit to act; "
    "the chart adds releases to both. diff --from needs ControllerRevisions (get), which the chart does not add",
    Reason.RELEASE_UNREADABLE: "Use a command of the operator's version",
    Reason.UNAUTHORIZED: "Log in again, or name another login with --kubeconfig or --context",
    Reason.API_SERVER_UNAVAILABLE: "Check the server in your kubeconfig, --context, and the network between",
}
CODES = {
    Reason.RELEASE_NOT_FOUND: Code.NOT_FOUND,
    Reason.REVISION_NOT_FOUND: Code.NOT_FOUND,
    Reason.KIND_NOT_INSTALLED: Code.NOT_FOUND,
    Reason.GATEWAY_NOT_FOUND: Code.NOT_FOUND,
    Reason.NOT_IN_TIME: Code.TIMEOUT,
    Reason.INVALID_MANIFEST: Code.USAGE,
    Reason.ALREADY_PUT_BACK: Code.USAGE,
}


class Ended(click.ClickException):
    """A command that failed: one line on stderr, and an exit code."""

    def __init__(self, error: ReleaseError) -> None:
        remedy = REMEDIES.get(error.reason, error.remedy)
        super().__init__(one_line(f"{error.reason}: {error.message.rstrip('.')}. {remedy}"))
        self.exit_code = CODES.get(error.reason, Code.ERROR)  # type: ignore[misc]  # click asks the instance


@dataclass(frozen=True)
class ClusterTarget:
    """An API server, and one of its namespaces."""

    kubeconfig: Path | None
    context: str | None
    given_namespace: str | None

    @property
    def namespace(self) -> str:
        """Return the given namespace; else that of the context, else ``default``."""
        if self.given_namespace is not None:
            return self.given_namespace
        return "default" if self.kubeconfig is None else login.read_namespace(self.kubeconfig, self.context)

    def check(self) -> None:
        """Raise `Refused` (KubeconfigUnusable) if there is no server to ask."""
        if self.kubeconfig is not None:
            login.read_namespace(self.kubeconfig, self.context)


def with_target_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options for the cluster, as one `ClusterTarget`."""

    @click.option("-n", "--namespace", help="The release's namespace.  [default: the context's]")
    @click.option(
        "--kubeconfig",
        envvar="KUBECONFIG",
        type=click.Path(path_type=Path),
        help="How to log in.  [default: $KUBECONFIG, ~/.kube/config, the pod's ServiceAccount]",
    )
    @click.option("--context", help="A context of the kubeconfig.  [default: its current one]")
    @functools.wraps(command)
    def with_place(namespace: str | None, kubeconfig: Path | None, context: str | None, **rest: Any) -> None:
        with_errors(
            lambda: command(target=ClusterTarget(kubeconfig or find_own_kubeconfig(), context, namespace), **rest)
        )

    return with_place


def find_own_kubeconfig() -> Path | None:
    """Return the path of the user's own kubeconfig, if it exists."""
    file = Path.home() / ".kube" / "config"
    return file if file.is_file() else None


output_option = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="For people, or jq."
)
timeout_option = click.option(
    "--timeout", default="5m", show_default=True, metavar="DURATION", help="How long to wait: 90s, 5m, 1h30m."
)


def parse_seconds(text: str) -> float:
    """Parse a duration of the command line. Raises a usage error."""
    try:
        return api.Duration.parse(text).total_seconds()
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def report_no_answer() -> ReleaseError:
    """Return the error for an API server that did not answer in time."""
    text = f"the API server did not answer within {DEADLINE_SECONDS:g} s"
    return Transient(Reason.NOT_IN_TIME, text, REMEDIES[Reason.API_SERVER_UNAVAILABLE])


def run(
    target: ClusterTarget,
    act: Callable[[Cluster], Awaitable[Result]],
    *,
    deadline: float = DEADLINE_SECONDS,
    late: Callable[[], ReleaseError] = report_no_answer,
) -> Result:
    """Connect and return the result of ``act``. After ``deadline`` seconds raise what ``late`` returns."""

    target.check()

    async def connected() -> Result:
        async with asyncio.timeout(deadline), await Cluster.connect(target.kubeconfig, target.context) as cluster:
            return await act(cluster)

    try:
        return asyncio.run(connected())
    except TimeoutError:
        raise late() from None


def with_errors(act: Callable[[], None]) -> None:
    """Run a command; print a known error in one line: reason, finding, remedy."""
    try:
        act()
    except ReleaseError as error:
        raise Ended(error) from None
    except NotFound as error:
        if error.served:
            raise Ended(
                Refused(
                    Reason.RELEASE_NOT_FOUND, error.message, "Run the command again: the object existed a moment ago"
                )
            ) from None
        remedy = "Install what it names: PluginRelease comes with the chart, WasmPlugin with Istio"
        raise Ended(Refused(Reason.KIND_NOT_INSTALLED, error.message, remedy)) from None


async def observe(cluster: Cluster, namespace: str, name: str) -> JSON:
    """Return the PluginRelease. Raises `Refused` (ReleaseNotFound) with the names of existing ones."""
    found = await cluster.get(RELEASES, namespace, name)
    if found is None:
        there = [item["metadata"]["name"] for item in await cluster.list(RELEASES, namespace, {})]
        raise refuse_missing(namespace, name, there)
    return found


def refuse_missing(namespace: str, name: str, there: Collection[str] = ()) -> Refused:
    """Return the error for a release that does not exist."""
    known = f"The namespace has {', '.join(sorted(there)[:10])}" if there else "Name another namespace with -n"
    return Refused(Reason.RELEASE_NOT_FOUND, f"there is no PluginRelease {namespace}/{name}", known)


async def fetch(cluster: Cluster, namespace: str, name: str) -> api.Release:
    """Return the release, parsed by the models."""
    return stored.read(await observe(cluster, namespace, name))


def say(line: str) -> None:
    """Print to stderr what is not a result."""
    click.echo(line, err=True)


def print_json(value: Any) -> None:
    """Print one JSON document to stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
