"""Registries as the operator's administrator lists them: a host, or a host and the beginning of a path."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact.image_manifests import DOCKER_HUB, Reference
from pluginrelease.core.errors import Refused

_HUB_HOSTS = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")


def strip_scheme(name: str) -> str:
    """``https://index.docker.io/v1/`` → ``docker.io``; ``http://host:5000/v2/`` → ``host:5000``."""
    name = re.sub(r"^https?://", "", name.strip())
    name = re.sub(r"/v[12]/?$", "", name).rstrip("/")
    host, slash, path = name.partition("/")
    return (DOCKER_HUB if host in _HUB_HOSTS else host) + slash + path


def covers(name: str, reference: Reference) -> bool:
    """Return True if a name is the reference's registry, or the beginning of its path.

    ``ghcr.io/team`` covers ``ghcr.io/team/plugin``, but not ``ghcr.io/teams``. An empty name covers nothing.
    """
    prefix = strip_scheme(name)
    return bool(prefix) and (reference.name + "/").startswith(prefix + "/")


def check(allowed: Iterable[str], reference: Reference) -> None:
    """Raise `Refused` (``RegistryNotAllowed``) unless one of the names covers the reference. No names allow all."""
    names = tuple(allowed)
    if names and not any(covers(name, reference) for name in names):
        raise Refused(
            Reason.REGISTRY_NOT_ALLOWED,
            f"This operator takes plugins from {', '.join(names)} only, and not from {reference.name}",
            "Push the plugin to one of these, or extend the operator's --allowed-registries.",
        )
