"""What kstatus's own code computes of every state: what Flux, and whoever else follows it, waits for or gives up on."""

from __future__ import annotations

import json
import subprocess

import pytest

from pluginrelease_lab import binaries
from tests.harness import columns
from tests.states import STATES, State

SECONDS = 20.0


@pytest.fixture(scope="module")
def computed() -> dict[str, str]:
    """What kstatus makes of each row of `tests.states`, by its name and case."""
    named = (
        {**state.found, "metadata": {**state.found["metadata"], "name": f"state-{number}"}}
        for number, state in enumerate(STATES)
    )
    found = subprocess.run(
        [binaries.provide("kstatus")],
        input="\n".join(map(json.dumps, named)),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    answers = {answer["name"]: answer["status"] for answer in map(json.loads, found.stdout.splitlines())}
    return {columns.name(state): answers[f"state-{number}"] for number, state in enumerate(STATES)}


@pytest.mark.parametrize("state", STATES, ids=columns.name)
def test_a_pipeline_reads_what_the_page_says(state: State, computed: dict[str, str]) -> None:
    """Each state is to kstatus what docs/states.md says: Failed at once where a person must act, InProgress only for a
    time, and Current only where what the spec wants was seen running."""
    assert computed[columns.name(state)] == state.kstatus


def test_the_page_has_what_kstatus_computed(computed: dict[str, str]) -> None:
    """The column of docs/states.md is what kstatus's own code computed of each state."""
    assert columns.compare("kstatus", computed) == []
