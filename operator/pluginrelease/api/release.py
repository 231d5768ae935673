"""The whole PluginRelease."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pluginrelease.api.metadata import API_VERSION, KIND, Metadata, Model
from pluginrelease.api.spec import Spec
from pluginrelease.api.status import Status


class Release(Model):
    """A PluginRelease as it is in the API server."""

    metadata: Metadata
    spec: Spec
    status: Status = Field(default_factory=Status)

    def as_owner(self) -> dict[str, Any]:
        """Return the owner reference for objects of the release.

        The garbage collector uses it only within a namespace.
        """
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": self.metadata.name,
            "uid": self.metadata.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
