"""An image that was pulled and checked."""

from __future__ import annotations

from dataclasses import dataclass

from pluginrelease.core.artifact.image_manifests import Artifact


@dataclass(frozen=True)
class PulledArtifact:
    """An artifact, and the registry's WWW-Authenticate values, because the check of gateways needs them too."""

    artifact: Artifact
    challenges: tuple[str, ...]
