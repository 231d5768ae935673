"""Ways into the registries of the tests, and what a pull that fails says."""

from __future__ import annotations

from typing import Any

import pytest

from pluginrelease.core.artifact.image_manifests import Reference
from pluginrelease.core.errors import ReleaseError
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from tests import wasm_modules as made

WASM = made.plugin("0_2_1")
OPEN = Access(insecure=True, deadline_seconds=20)


def failure(reference: Reference, access: Access = OPEN) -> ReleaseError:
    with pytest.raises(ReleaseError) as error:
        registry.fetch(reference, access)
    assert error.value.remedy, "every error says what to do"
    return error.value


def quick(seconds: float = 1.0, **more: Any) -> Access:
    return Access(insecure=True, deadline_seconds=seconds, **more)
