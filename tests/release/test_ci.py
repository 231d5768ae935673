"""What continuous integration runs: each part once, two at a time, and a red one is red at the end."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
MAKE = """#!/bin/sh
printf '%s\\n' "$*" >> "$STARTED"
case " $* " in *" $RED "*) echo "it is red"; exit 2;; esac
"""


def run_ci(folder: Path, red: str = "none") -> tuple[int, str, list[str]]:
    """Run `.ci/run` with a make that only notes what it is asked for; the code, what it says, and the targets."""
    (folder / "make").write_text(MAKE)
    (folder / "make").chmod(0o755)
    started = folder / "started"
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "STARTED": str(started), "RED": red}
    done = subprocess.run(
        [CHECKOUT / ".ci" / "run"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, started.read_text().splitlines()


def test_every_part_runs_once(tmp_path: Path) -> None:
    """The machine's packages come first, then what needs no lab beside the builds; each part says its time."""
    code, said, started = run_ci(tmp_path)
    assert code == 0, said
    assert started[0] == "node-packages"
    assert started.count("binaries") == 1
    beside = [target for target in started if target != "binaries"]
    assert beside[1:3] == ["lint", "test-core"]
    assert sorted(beside[3:]) == ["binaries test-edges", "binaries test-passes", "incidents", "test-node"]
    told = re.findall(r"^\[ci\] make (.+): \d+ s$", said, re.MULTILINE)
    assert sorted(told) == sorted(beside)


def test_all_tests_are_in_one_of_the_parts() -> None:
    """What `make test` runs is run by the parts, which leave out nothing else than each other's folders."""
    recipes = dict(
        re.findall(
            r"^(test[a-z-]*):.*\n\t@\$\(BIN\)/python -m pytest (.*)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE
        )
    )
    named = {*recipes["test-core"].split(), *recipes["test-passes"].split()}
    assert {word.removeprefix("--ignore=") for word in recipes["test-edges"].split()} == {
        "tests/node",
        "tests/gitops",
        *named,
    }
    assert recipes["test"].split() == ["--ignore=tests/node", "--ignore=tests/gitops"]
    assert recipes["test-gitops"] == "tests/gitops"


@pytest.mark.parametrize(
    "red", ["lint", "test-core", "test-node", "incidents", "test-edges", "test-passes", "binaries"]
)
def test_a_red_part_is_red(tmp_path: Path, red: str) -> None:
    """Whichever part fails, all of it does, and what the part said is there; the other lane ends what it began."""
    code, said, started = run_ci(tmp_path, red)
    assert code != 0
    assert "it is red" in said
    lanes = {"test-node", "incidents", "test-edges", "test-passes"}
    if red in lanes:
        assert {word for line in started for word in line.split()} >= lanes
