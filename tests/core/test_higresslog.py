"""The lines that only Higress's Envoy writes. (From its source; not measured.)"""

from __future__ import annotations

import json

import pytest

from pluginrelease.core.gateway import higress_logs
from pluginrelease.core.gateway.identity import DesiredPlugin

WANTED = DesiredPlugin("apps", "header", "0" * 64, None, "FAIL_CLOSE")
SAID = "wasm worker initialization failed: plugin='apps.header' reason='ConfigureFailed' retryable=false"
AGAIN = SAID.replace("false", "true")
OTHER = SAID.replace("apps.header", "apps.other")


def text(message: str) -> str:
    return f"2026-01-01T00:00:00.000000Z\twarning\tenvoy wasm external/wasm.cc:1\t{message}\tthread=20"


def as_json(message: str) -> str:
    return json.dumps(
        {"time": "2026-01-01T00:00:00.000000Z", "level": "warning", "scope": "envoy wasm", "msg": message}
    )


@pytest.mark.parametrize(
    ("lines", "told", "reason"),
    [
        ([], "", "nothing was said"),
        ([text(SAID)], SAID, "ours"),
        ([as_json(SAID)], SAID, "with logAsJson"),
        ([text(OTHER)], "", "a neighbour's"),
        ([text(SAID), text(AGAIN), text(OTHER)], AGAIN, "the newest"),
        ([f"[2026-01-01T00:00:00.000Z] GET /{SAID}"], "", "a client's own words in an access log"),
        ([text(SAID.replace("failed", "recovered"))], "", "it has come up"),
    ],
)
def test_why_a_plugin_did_not_come_up(lines: list[str], told: str, reason: str) -> None:
    """The gateway's newest words about our plugin, and nobody else's."""
    assert higress_logs.find_start_failure(lines, WANTED) == told, reason
