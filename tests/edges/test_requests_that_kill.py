"""Plugins that serve well until a request comes: what a real Envoy shows of a worker that hangs, and of its own end."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest
import requests

from pluginrelease.core.gateway import statistics
from tests import wasm_modules
from tests.core.gateway_signs import WANTED
from tests.edges import plain_envoy

SECONDS = 30.0
DEADLY = {"x-trap": "1"}


def written(folder: Path, module: bytes) -> Path:
    path = folder / "module.wasm"
    path.write_bytes(module)
    return path


def test_a_worker_that_hangs_is_counted(tmp_path: Path) -> None:
    """The main thread goes on and answers; Envoy's watchdog counts the worker, once, by the name that is read."""
    with plain_envoy.running(tmp_path) as gateway:
        url = gateway.serve("hangs", written(tmp_path, wasm_modules.answering_until_hung("good")))
        assert requests.get(url, timeout=SECONDS).headers["x-plugin"] == "good"
        with pytest.raises(requests.RequestException):
            requests.get(url, headers=DEADLY, timeout=3)
        until, numbers = time.monotonic() + SECONDS, dict[str, int]()
        while not statistics.read_stats(numbers, WANTED).worker_hangs:
            assert time.monotonic() < until, numbers
            text = requests.get(f"{gateway.admin}/stats?filter=watchdog_mega_miss", timeout=SECONDS).text
            numbers = {name: int(count) for name, count in re.findall(r"(\S+): (\d+)", text)}
        assert gateway.process is not None
        gateway.process.kill()  # no signal to end reaches it


def test_a_gateway_aborts_of_a_request(tmp_path: Path) -> None:
    """It was loaded and served: only after that the request comes at which Envoy ends by SIGABRT."""
    with plain_envoy.running(tmp_path) as gateway:
        url = gateway.serve("aborts", written(tmp_path, wasm_modules.answering_until_aborted("good")))
        assert requests.get(url, timeout=SECONDS).headers["x-plugin"] == "good"
        with pytest.raises(requests.ConnectionError):
            requests.get(url, headers=DEADLY, timeout=SECONDS)
        assert gateway.process is not None
        assert gateway.process.wait(SECONDS) == -signal.SIGABRT
