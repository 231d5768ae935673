"""Real builds of other SDKs: what inspect says of them, and that a real Envoy runs them, as it said.

tests/fixtures/sdk/README.md tells how they were made; Go's SDKs are built where they are tested.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from pluginrelease.cli import main
from tests.edges import plain_envoy

BUILDS = Path(__file__).parents[1] / "fixtures" / "sdk"
WASI = "wasi_snapshot_preview1"
# (the build, its ABI, its toolchain and version, some imports of it, some exports)
TOLD = [
    ("rust", "0.2.1", "Rust", "1.63.0", {"env.proxy_log", f"{WASI}.fd_write"}, {"proxy_on_memory_allocate"}),
    ("cpp", "0.2.1", "C++", "14.0.6", {"env.proxy_log", "env.proxy_get_property"}, {"malloc", "_initialize"}),
    ("assemblyscript", "0.2.0", "AssemblyScript", "", {"wasi_unstable.proc_exit"}, {"malloc", "__rtti_base"}),
]


def inspected(name: str) -> tuple[int, dict[str, Any]]:
    ended = CliRunner().invoke(main, ["inspect", str(BUILDS / f"{name}.wasm"), "--for", "istio@1.31", "-o", "json"])
    return ended.exit_code, json.loads(ended.stdout)


@pytest.mark.parametrize(("name", "abi", "toolchain", "version", "imports", "exports"), TOLD, ids=[t[0] for t in TOLD])
def test_what_inspect_says(
    name: str, abi: str, toolchain: str, version: str, imports: set[str], exports: set[str]
) -> None:
    """The build is usable; its ABI, what made it, and its functions are told as they are."""
    code, seen = inspected(name)
    assert (code, seen["reasons"]) == (0, [])
    about = seen["wasm"]
    assert (about["abi"], about["toolchain"], about["toolchainVersion"]) == (abi, toolchain, version)
    assert imports <= set(about["imports"])
    assert exports <= set(about["exports"])


def test_a_start_section_that_may_call_the_gateway(gateway: plain_envoy.PlainGateway) -> None:
    """AssemblyScript without an exported start loads as long as nothing of its top level aborts or logs; its twin that
    does kills the gateway, and looks the same. It is refused with what to change, and so changed it is usable."""
    code, seen = inspected("assemblyscript-start-section")
    [refused] = seen["reasons"]
    assert (code, refused["reason"]) == (1, "StartCallsHost")
    assert '"exportStart": "_start"' in refused["message"]
    url = gateway.serve("start-section", BUILDS / "assemblyscript-start-section.wasm")
    assert requests.get(url, timeout=20).status_code == 200


@pytest.mark.parametrize("name", [told[0] for told in TOLD])
def test_a_real_envoy_runs_it(gateway: plain_envoy.PlainGateway, name: str) -> None:
    """What inspect calls usable is loaded, and does its work."""
    url = gateway.serve(name, BUILDS / f"{name}.wasm")
    answer = requests.get(url, timeout=20)
    assert (answer.status_code, answer.headers["x-plugin"]) == (200, name)
