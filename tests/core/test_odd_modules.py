"""What is said of odd modules before any gateway sees them; what real Envoys do with them is in tests/edges."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluginrelease.core import compat, wasm
from pluginrelease.core.compat import CompatibilityState, gateway_versions
from pluginrelease.core.errors import Refused
from tests import odd_modules
from tests.cost import measure
from tests.edges import envoys
from tests.modules import page
from tests.odd_modules import Does, Odd

CHECKOUT = Path(__file__).parents[2]
EVERY = pytest.mark.parametrize("odd", odd_modules.ALL, ids=lambda odd: odd.name)
HARMFUL = (Does.DIES, Does.DIES_LATER, Does.HANGS, Does.HANGS_LATER, Does.RUNS_NOWHERE)
# What the code does, and nothing that can be read shows: only a trial does.
ONLY_A_TRIAL = {
    *("start-loops", "initialize-loops", "done-loops", "configured-twice"),
    *("grpc-without-service", "grpc-stream-without-service"),
}


def said(data: bytes, gateway: str = "envoy@1.40") -> tuple[str, tuple[str, ...]]:
    """The reason that the module is refused with, or an empty string, and the warnings."""
    meant = gateway_versions.read(gateway)
    try:
        module = wasm.read(data)
    except Refused as refused:
        return (refused.reason if refused.remedy else "without a remedy"), ()
    provider = "Higress" if meant.name == "higress" else "Istio"
    answer = compat.compare(module, meant.hosts, provider)[0]
    assert answer.state is CompatibilityState.COMPATIBLE or answer.remedy
    reason = "" if answer.state is CompatibilityState.COMPATIBLE else answer.reason
    return reason, tuple(finding.reason for finding in compat.find_warnings(module, meant.hosts, provider))


@EVERY
def test_what_we_say(odd: Odd) -> None:
    """A refusal where the table has one, with that reason; else the table's warnings and no more."""
    reason, warnings = said(odd.make())
    assert reason == odd.reason
    assert reason or warnings == odd.warnings


@EVERY
def test_on_higress(odd: Odd) -> None:
    """Higress is asked for more by some modules, and for less by none."""
    assert said(odd.make(), "higress@2.2")[0] == (odd.higress or odd.reason)


@EVERY
def test_no_gateway_known(odd: Odd) -> None:
    """What kills or is refused everywhere is refused also where no gateway has told its version."""
    expected = odd.reason if odd.reason else "GatewayVersionUnknown"
    assert said(odd.make(), "istio@9.9")[0] == expected


@EVERY
def test_what_it_costs(odd: Odd) -> None:
    """Inspecting any of them takes less than a second of the processor, and less than 64 MiB."""
    data = odd.make()
    took, peak = measure(lambda: said(data))
    assert took < 1.0
    assert peak < 64 << 20


def test_the_page() -> None:
    """docs/modules.md has just what the table says; `make modules` writes it of what Envoys did."""
    seen = {version: {odd.name: odd.does for odd in odd_modules.ALL} for version in envoys.MATRIX}
    assert (CHECKOUT / "docs" / "modules.md").read_text(encoding="utf-8") == page.text(seen)


def test_the_table() -> None:
    """The table has sixty modules and more, each once; no killer is let through but those that only a trial shows."""
    names = [odd.name for odd in odd_modules.ALL]
    assert len(names) == len(set(names)) >= 60
    passed = {odd.name for odd in odd_modules.ALL if odd.does in HARMFUL and not odd.reason}
    assert passed == ONLY_A_TRIAL
