"""The tests' own pushes arrive where the lab's registries are, on real registries in the lab's place."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from pluginrelease.edges.oci import registry
from pluginrelease_lab import Lab
from tests.edges.real_registry import PASSWORD, USER, Real, as_tester
from tests.edges.registry_access import WASM
from tests.harness import registries


def test_a_push_is_named_as_gateways_know_it(plain: Real, private: Real, file: Path) -> None:
    """It goes to the registry by its address on the host; the reference is the one inside the lab."""
    hosts = {"registry_host": plain.host, "private_registry_host": private.host}
    inside = {"registry": "10.0.0.1:5000", "private_registry": "10.0.0.1:5001"}
    lab = cast("Lab", SimpleNamespace(**hosts, **inside, private_credentials=(USER, PASSWORD)))
    assert registries.push(lab, file, "harness/open:1") == "10.0.0.1:5000/harness/open:1"
    assert plain.read("harness/open", "1")
    assert registries.push_private(lab, file, "harness/closed:1") == "10.0.0.1:5001/harness/closed:1"
    assert registry.pull(private.reference("harness/closed:1"), as_tester(private.host)).wasm == WASM
