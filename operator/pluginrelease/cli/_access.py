"""How commands reach a registry: options, credentials, and remedies if it denies access."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import ReleaseError
from pluginrelease.edges.desk import Desk
from pluginrelease.edges.oci.access import Access

# What a user at a terminal can do, where a release's own remedy names its spec.
_LOGIN = "Log in with `docker login` or `crane auth login`, or name a config.json with --docker-config."
REMEDIES = {
    Reason.AUTHENTICATION_FAILED: _LOGIN,
    Reason.AUTHENTICATION_REQUIRED: _LOGIN,
    Reason.REGISTRY_TLS: "Give the registry a certificate that this machine trusts. "
    "If it speaks plain http, add --insecure.",
    Reason.REGISTRY_UNAVAILABLE: "Check the host, and the proxy between here and the registry.",
    Reason.MANIFEST_NOT_FOUND: "Push it, or correct the reference.",
    Reason.NO_MATCHING_TAG: "Push such a tag, or correct the range.",
}


def with_registry_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a registry, as one `Access`."""

    @click.option("--insecure", is_flag=True, help="Speak plain http with the registry.")
    @click.option(
        "--docker-config",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="A config.json with the registry's credentials, or with the helper that has them.  "
        "[default: $DOCKER_CONFIG or ~/.docker, if there]",
    )
    @click.option("--timeout", type=click.FloatRange(min=1), default=300.0, show_default=True, help="Seconds for it.")
    @functools.wraps(command)
    def with_access(insecure: bool, docker_config: Path | None, timeout: float, **rest: Any) -> None:
        access = Access(
            insecure=insecure,
            desk=find_desk(docker_config, timeout),
            deadline_seconds=timeout,
            allow_private_realms=True,  # a user who names a registry accepts its login addresses
        )
        command(access=access, **rest)

    return with_access


def find_desk(given: Path | None, timeout: float) -> Desk | None:
    """Return the named file, else docker's own if it exists."""
    folder = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    file = given or Path(folder, "config.json")
    if given is None and not file.is_file():
        return None
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        raise click.ClickException(f"{file} is not JSON") from None
    if not isinstance(content, dict):
        raise click.ClickException(f"{file} is not a JSON object")
    return Desk(file, content, timeout)


def explain_at_terminal(error: ReleaseError) -> ReleaseError:
    """Return the same error with a remedy for a user at a terminal."""
    error.remedy = REMEDIES.get(error.reason, error.remedy)
    return error
