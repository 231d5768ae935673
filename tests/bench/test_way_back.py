"""What the bench of the way back counts of the API server's audit log."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench import way_back
from bench.way_back import AuditTail
from tests.harness.cluster import JSON

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
OPERATOR = "pluginrelease/0.1.0 (lab)"


def event(verb: str, resource: str, name: str, *, agent: str = OPERATOR, code: int = 200, at: float = 0.0) -> JSON:
    """One line of the log: asked for at a time, and answered half a second later."""
    came = NOW + timedelta(seconds=at)
    return {
        "verb": verb,
        "userAgent": agent,
        "objectRef": {"resource": resource, "namespace": name, "name": name},
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": came.isoformat(),
        "stageTimestamp": (came + timedelta(seconds=0.5)).isoformat(),
    }


def test_a_line_that_is_not_whole_is_read_later(tmp_path: Path) -> None:
    """The API server writes while it is read, and each request counts once."""
    log, lines = tmp_path / "audit.log", [json.dumps({"verb": f"é{number}"}) + "\n" for number in range(3)]
    tail = AuditTail(log)
    log.write_text(lines[0] + lines[1][:8], encoding="utf-8")
    assert [found["verb"] for found in tail.read()] == ["é0"]
    log.write_text("".join(lines), encoding="utf-8")
    assert [found["verb"] for found in tail.read()] == ["é0", "é1", "é2"]
    assert len(tail.read()) == 3


@pytest.mark.parametrize(
    ("why", "found", "counts"),
    [
        ("it is the write", event("patch", "wasmplugins", "victim"), True),
        ("a removal is one, too", event("delete", "wasmplugins", "victim"), True),
        ("it was asked for before", event("patch", "wasmplugins", "victim", at=-1.0), False),
        ("the API server refused it", event("patch", "wasmplugins", "victim", code=409), False),
        ("it is another release's", event("patch", "wasmplugins", "storm"), False),
        ("it is the status", event("patch", "pluginreleases", "victim"), False),
        ("a user wrote it", event("patch", "wasmplugins", "victim", agent="kubectl/v1.36"), False),
        ("nothing was changed", event("get", "wasmplugins", "victim"), False),
    ],
)
def test_what_ends_the_time(why: str, found: JSON, counts: bool) -> None:
    """The operator's own change of the one object, that the API server took."""
    assert way_back.is_write_of(found, "victim", NOW) is counts, why
    assert way_back.answered(found) - datetime.fromisoformat(found["requestReceivedTimestamp"]) == timedelta(
        seconds=0.5
    )


def test_every_end_of_a_container_is_found() -> None:
    """One that has just ended, and the one before."""
    ended = {"terminated": {"finishedAt": "2026-01-01T12:00:00Z"}}
    running: JSON = {"running": {}}
    statuses = [{"state": ended, "lastState": {}}, {"state": running, "lastState": ended}, {"state": running}]
    assert list(way_back.list_ends({"status": {"containerStatuses": statuses}})) == [NOW, NOW]
