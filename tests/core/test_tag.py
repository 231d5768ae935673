"""Following a tag: asked again when its time has come, and a digest that failed is not tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pluginrelease.core import api, moment, revision, tag
from tests.releases import ARTIFACT, DIGEST, release

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
OTHER = "sha256:" + "cd" * 32


def followed(interval: str | None, asked: datetime | None, **more: object) -> api.Release:
    """A release whose tag was asked for at this time."""
    artifact = ARTIFACT.model_copy(update={"asked_at": moment.written(asked) if asked else None})
    image = {"ref": ARTIFACT.ref, **({"interval": interval} if interval else {})}
    found = release(spec__artifact={"image": image})
    return found.model_copy(update={"status": api.Status(artifact=artifact, **more)})


@pytest.mark.parametrize(
    ("interval", "asked", "due", "reason"),
    [
        (None, NOW - timedelta(days=9), False, "a tag that is not followed is asked for once"),
        ("5m", NOW - timedelta(minutes=4, seconds=59), False, "its time has not come"),
        ("5m", NOW - timedelta(minutes=5), True, "its time has come"),
        ("5m", None, False, "what was never asked is asked by the rollout itself"),
        ("5m", NOW + timedelta(days=1), False, "a clock that was set back waits, and asks for nothing too often"),
    ],
)
def test_when_a_tag_is_asked_for_again(interval: str | None, asked: datetime | None, due: bool, reason: str) -> None:
    """Every interval, from the last answer on."""
    assert tag.is_due(followed(interval, asked), NOW) is due, reason


def test_another_reference_is_not_this_ones_question() -> None:
    """A spec that names another image now is asked for by its rollout."""
    old = followed("5m", NOW - timedelta(hours=1))
    image = old.spec.artifact.image.model_copy(update={"ref": "registry.example.com/other:1"})
    spec = old.spec.model_copy(update={"artifact": old.spec.artifact.model_copy(update={"image": image})})
    assert not tag.is_due(old.model_copy(update={"spec": spec}), NOW)


def test_what_is_news() -> None:
    """Another digest is rolled out; the same one, and the one that failed, are not."""
    known = followed("5m", NOW)
    assert tag.is_news(known, OTHER)
    assert not tag.is_news(known, DIGEST)
    failure = api.RolloutFailure(
        revision=revision.identity(known.spec, OTHER), reason="PluginRejected", message="no", at=moment.written(NOW)
    )
    rollout = api.RolloutStatus(generation=1, started_at=moment.written(NOW), failure=failure, puts_back="")
    assert not tag.is_news(followed("5m", NOW, rollout=rollout), OTHER)
