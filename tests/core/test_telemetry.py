"""The operator's log: lines that a machine or a person reads, bound to what they are about, and without secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from pluginrelease import api, telemetry
from pluginrelease.controller import logbook
from tests.harness.releases import release
from tests.reports import BACK, NEW, OLD, TRYING

PLANTED = "hunter2-planted"


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    handlers, level, silenced = (
        root.handlers,
        root.level,
        [logging.getLogger(name).level for name in telemetry.SILENCED],
    )
    yield
    root.handlers, root.level = handlers, level
    for name, before in zip(telemetry.SILENCED, silenced, strict=True):
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def status(phase: str, revision: str, rollout: api.RolloutStatus | None = None) -> api.Status:
    return api.Status(phase=phase, target_revision=revision, rollout=rollout)


def lines(shown: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in shown.readouterr().err.splitlines()]


def test_json_lines_name_what_they_are_about(capsys: pytest.CaptureFixture[str]) -> None:
    """Within a pass every line, also of a library, has release, generation and revision; of an entry its gateway."""
    telemetry.configure("json", "info")
    about = release().model_copy(update={"status": status("Loading", OLD)})
    with structlog.contextvars.bound_contextvars(release="team/auth"):
        logbook.bind(about)
        with structlog.contextvars.bound_contextvars(gateway="public"):
            structlog.get_logger("own").info("looked", pods=2)
        logging.getLogger("library").warning("slow")
    mine, theirs = lines(capsys)
    whole = {"release": "team/auth", "generation": about.metadata.generation, "revision": OLD}
    assert whole.items() <= mine.items()
    assert (mine["gateway"], mine["event"], mine["level"]) == ("public", "looked", "info")
    assert whole.items() <= theirs.items()
    assert "gateway" not in theirs


def test_the_console_has_the_same_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """--log-format=text writes one line, with the same words as key=value."""
    telemetry.configure("text", "info")
    with structlog.contextvars.bound_contextvars(release="team/auth"):
        structlog.get_logger("own").info("looked", gateway="public")
    [line] = capsys.readouterr().err.splitlines()
    assert "looked" in line
    assert "release=team/auth" in line
    assert "gateway=public" in line


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_traceback_shows_no_values(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a function held when it failed, such as a password, is not in the traceback."""
    telemetry.configure(log_format, "info")

    def log_in(password: str) -> None:
        raise ValueError(f"{len(password)} characters were refused")

    try:
        log_in(PLANTED)
    except ValueError:
        structlog.get_logger("own").exception("internal error")
    said = capsys.readouterr().err
    assert "characters were refused" in said
    assert PLANTED not in said


@pytest.mark.parametrize(
    ("before", "after", "logged", "reason"),
    [
        (status("Ready", NEW), status("Ready", NEW), 0, "a look at rest"),
        (status("Ready", NEW), status("Ready", NEW, TRYING), 0, "what only the operator notes"),
        (status("Ready", OLD), status("Loading", NEW), 1, "another revision is wanted"),
        (status("RollingBack", NEW, BACK), status("RolledBack", NEW, BACK), 1, "it was put back"),
    ],
)
def test_a_release_at_rest_logs_nothing(
    before: api.Status, after: api.Status, logged: int, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line tells that a release has come to be otherwise; a pass that finds all as it was writes none."""
    telemetry.configure("json", "info")
    logbook.tell_turn(before, after)
    assert len(lines(capsys)) == logged, reason
