"""A PluginRelease, whole."""

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
        """The owner reference of what goes with the release; the garbage collector honours it in its namespace only."""
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": self.metadata.name,
            "uid": self.metadata.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
