"""The image that the bench pulls."""

from __future__ import annotations

from bench import pulls
from pluginrelease.core import compat, wasm
from pluginrelease.core.artifact import packing


def test_the_image_is_a_plugin_of_its_size() -> None:
    """What is timed is a plugin that a gateway would load, and as large in the registry as its figure says."""
    content = pulls.module(100_000)
    assert compat.judge(wasm.read(content), {"1.40.0"}).state is compat.CompatibilityState.COMPATIBLE
    assert 100_000 < len(packing.pack(content).layer) < 102_000
