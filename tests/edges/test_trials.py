"""Trials on a real Envoy, without a lab: each plugin gets its verdict, and nothing is left of a trial."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from pluginrelease.core.rollout.probe import ProbeResponse
from pluginrelease.core.trial import layout
from pluginrelease_lab import binaries
from tests import wasm_modules
from tests.edges import envoys, odd_envoy
from tests.edges.real_envoy import free_port
from tests.trials import cases, run
from tests.trials.cases import Tried

Found = TypeVar("Found")

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


def start_driver(folder: Path, program: Path | None) -> subprocess.Popen[str]:
    """The driver as a pod runs it; without a program it finds the Envoy that another container runs."""
    command = [sys.executable, "-m", "pluginrelease.edges.trial", str(folder), *([str(program)] if program else [])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("name", "code"), [("answering", 0), ("aborts-at-configure", 1), ("calls-no-cluster", 2)])
def test_the_driver_of_a_pod_prints_the_verdict(name: str, code: int, tmp_path: Path) -> None:
    """With the files written first, the driver prints one JSON object, and its exit code says the same."""
    tried = next(each for each in cases.ALL if each.name == name)
    run.prepare(tmp_path, free_port(), tried.make(), tried.config, **tried.settings)
    driver = start_driver(tmp_path, binaries.provide("envoy"))
    said, errors = driver.communicate(timeout=READY)
    assert driver.returncode == code, errors
    assert json.loads(said)["verdict"] == tried.verdict


@pytest.mark.parametrize(
    ("name", "code"), [("answering", 0), ("in-place", 0), ("aborts-at-configure", 1), ("done-loops", 1)]
)
def test_a_driver_beside_envoy(name: str, code: int, tmp_path: Path) -> None:
    """In a pod Envoy is in another container: the driver finds it by its bootstrap, reads its log file, and ends it."""
    tried = next(each for each in cases.ALL if each.name == name)
    plan = run.prepare(tmp_path, free_port(), tried.make(), tried.config, **tried.settings).plan
    arguments = layout.list_arguments(str(tmp_path), plan.concurrency, log_path=True)
    envoy = subprocess.Popen([binaries.provide("envoy"), *arguments], stderr=subprocess.DEVNULL)
    driver = start_driver(tmp_path, None)
    said, errors = driver.communicate(timeout=READY)
    envoy.wait(READY)
    assert driver.returncode == code, said + errors
    found = json.loads(said)
    assert (found["verdict"], found["step"]) == (tried.verdict, tried.step and str(tried.step))


@pytest.mark.parametrize(
    ("text", "why"), [(None, "no files"), ("{}", "no plan"), ('{"version": 99}', "of another version")]
)
def test_a_folder_without_a_plan_is_unavailable(text: str | None, why: str, tmp_path: Path) -> None:
    """A trial that cannot begin says so, and refuses nothing."""
    if text is not None:
        (tmp_path / layout.PLAN).write_text(text)
    driver = start_driver(tmp_path, binaries.provide("envoy"))
    said, errors = driver.communicate(timeout=READY)
    assert (driver.returncode, json.loads(said)["verdict"]) == (2, "TrialUnavailable"), why + errors


@pytest.mark.parametrize(
    ("number", "make"),
    [
        (signal.SIGTERM, wasm_modules.hangs_at_configure),
        (signal.SIGINT, wasm_modules.hangs_at_configure),
        (signal.SIGKILL, wasm_modules.hangs_at_configure),
    ],
    ids=["SIGTERM", "SIGINT", "SIGKILL"],
)
def test_no_envoy_outlives_its_driver(number: signal.Signals, make: Callable[[], bytes], tmp_path: Path) -> None:
    """A hung Envoy ignores SIGTERM; it ends all the same when its driver is ended, even without a last word."""
    run.prepare(tmp_path, free_port(), make(), hang_seconds=READY)
    driver = start_driver(tmp_path, binaries.provide("envoy"))
    [child] = until(lambda: children(driver.pid))
    until(lambda: (tmp_path / layout.EXTENSION).exists())
    driver.send_signal(number)
    driver.communicate(timeout=READY)
    until(lambda: not is_running(child))
    assert driver.returncode == (2 if number != signal.SIGKILL else -9)


@pytest.mark.parametrize("version", ["1.36.4", "1.37.0"])
@pytest.mark.parametrize("tried", cases.GOOD[:3], ids=lambda tried: tried.name)
def test_older_envoys(version: str, tried: Tried, tmp_path: Path) -> None:
    """Where the processor has protection keys, such an Envoy dies of the first plugin after its start; not here."""
    check(tried, tmp_path, envoys.provide(version))


def test_an_envoy_without_v8(tmp_path: Path) -> None:
    """An Envoy that runs no plugin at all refuses none: the trial is unavailable, with Envoy's words."""
    found = run.run(tmp_path, wasm_modules.answering("a"), program=envoys.provide(envoys.WITHOUT_V8))
    assert found.verdict.reason == "TrialUnavailable"
    assert odd_envoy.NO_RUNTIME in " ".join(found.verdict.lines)


def test_memory_is_measured(tmp_path: Path) -> None:
    """What the plugin takes shows at rest, and at most while it was loaded."""
    memory = run.run(tmp_path, wasm_modules.eats_memory(50)).memory
    assert memory.base is not None
    assert memory.rest is not None
    assert memory.peak is not None
    assert memory.base + 150 < memory.rest <= memory.peak  # four VMs have 50 MiB each


def test_before_and_after(tmp_path: Path) -> None:
    """Each request is answered by the stable revision first, and then by the new one, on several connections."""
    found = run.run(tmp_path, wasm_modules.answering("new"), stable=wasm_modules.answering("old"), times=4)
    [record] = [record for record in found.records if record.exchanges]
    for exchange in record.exchanges:
        assert isinstance(exchange.before, ProbeResponse)
        assert dict(exchange.before.headers)["x-plugin"] == "old"
        assert [dict(getattr(answer, "headers", ()))["x-plugin"] for answer in exchange.after] == ["new"] * 4
    posted = record.exchanges[1].after[0]
    assert json.loads(getattr(posted, "body", b""))["body"] == '{"trial": true}'


def until(look: Callable[[], Found]) -> Found:
    """What a look finds at last."""
    deadline = time.monotonic() + READY
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def children(pid: int) -> list[int]:
    """The Envoys that a process started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def is_running(pid: int) -> bool:
    """Whether it still runs; a zombie does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
