"""Trials on a real Envoy, without a lab: each plugin gets its verdict, and nothing is left of a trial."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluginrelease.core.trial import layout
from tests.trials import cases, run
from tests.trials.cases import Tried

READY = 60.0


def check(tried: Tried, folder: Path, program: Path | None = None) -> None:
    """The verdict, its step and Envoy's words are those of the table."""
    found = run.run(folder, tried.make(), tried.config, program=program, **tried.settings)
    verdict = found.verdict
    log = (folder / layout.LOG).read_text(errors="replace")[-6000:]
    assert (verdict.reason, verdict.step) == (tried.verdict, tried.step), f"{verdict.message}\n{found.records}\n{log}"
    assert tried.words in verdict.message


@pytest.mark.parametrize("tried", cases.ALL, ids=lambda tried: tried.name)
def test_each_plugin_gets_its_verdict(tried: Tried, tmp_path: Path) -> None:
    """What crashes, hangs or is refused by a gateway does so here, at its step and with Envoy's words."""
    check(tried, tmp_path)


@pytest.mark.parametrize("tried", cases.ODD, ids=lambda tried: tried.name)
def test_what_loads_passes(tried: Tried, tmp_path: Path) -> None:
    """No module that a gateway loads and serves with is refused by a trial."""
    check(tried, tmp_path)
