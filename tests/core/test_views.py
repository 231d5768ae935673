"""What the verbs show to people: tables of releases and what stands in the lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.cli import _view
from tests.harness.releases import ARTIFACT, DIGEST, release

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
OLD, NEW = "0123456789", "abcdefabcd"


def ago(**passed: float) -> str:
    """A time before NOW, as status writes it."""
    return (NOW - timedelta(**passed)).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": ago(minutes=3)}


def entry(revision: str, number: int, state: str, reason: str | None = None) -> dict[str, Any]:
    return {
        "revision": revision,
        "number": number,
        "state": state,
        "ref": f"r.example.com/auth:{number}",
        "digest": DIGEST,
        "reason": reason,
        "firstDeployed": ago(days=number),
        "lastDeployed": ago(hours=number),
    }


ROLLED_BACK: dict[str, Any] = {
    "observedGeneration": 2,
    "phase": "RolledBack",
    "targetRevision": NEW,
    "stableRevision": OLD,
    "artifact": ARTIFACT.wire(),
    "conditions": [
        condition("Ready", "False", "PluginRejected", f"Revision {NEW} failed: no such function. Correct the plugin"),
        condition("Stalled", "True", "PluginRejected"),
        condition("Applied", "True", "Applied"),
        condition("Loaded", "False", "PluginRejected"),
    ],
    "gateways": {
        "desired": 3,
        "loaded": 1,
        "failed": 1,
        "summary": "1/3",
        "pods": [
            {
                "name": "a",
                "namespace": "edge",
                "state": "Unhealthy",
                "reason": "PluginRejected",
                "message": "\x1b[2Jbad",
            },
            {"name": "b", "namespace": "edge", "state": "Loaded", "reason": "Loaded", "revision": OLD, "message": "m"},
        ],
    },
    "rollout": {
        "generation": 2,
        "startedAt": ago(minutes=5),
        "failure": {"revision": NEW, "reason": "PluginRejected", "message": "no", "at": ago(minutes=4)},
        "putsBack": OLD,
        "putBackAt": ago(seconds=100),
    },
    "history": [entry(NEW, 2, "Failed", "PluginRejected"), entry(OLD, 1, "Stable")],
}


def rolled_back(**changes: Any) -> api.Release:
    """A release whose second revision failed, and whose first runs again."""
    return release(**{"metadata__generation": 2, "status": ROLLED_BACK, **changes})


@pytest.mark.parametrize(
    ("passed", "shown"),
    [
        (timedelta(seconds=-5), "0s"),
        (timedelta(seconds=59), "59s"),
        (timedelta(seconds=60), "1m"),
        (timedelta(minutes=59, seconds=59), "59m"),
        (timedelta(hours=23, minutes=59), "23h"),
        (timedelta(days=400), "400d"),
    ],
)
def test_an_age_is_one_number_with_its_unit(passed: timedelta, shown: str) -> None:
    """Ages are read at a glance; a clock that is behind the server's makes none negative."""
    assert _view.format_age((NOW - passed).isoformat(), NOW) == shown


def test_what_never_was_has_no_age() -> None:
    """A missing time is a dash."""
    assert _view.format_age(None, NOW) == "-"


@pytest.mark.parametrize(
    "line",
    [
        "istio-ingress/auth  RolledBack",
        "├─ Ready: False, PluginRejected, Stalled, 3m",
        f"│    Revision {NEW} failed: no such function. Correct the plugin",
        "├─ artifact registry.example.com/plugins/auth:1.2",
        f"│    {DIGEST}: OCICompat, ABI 0.2.1, Go 1.26.1, 2048 bytes",
        f"├─ rollout of {NEW}, began 5m ago, failed 4m ago: PluginRejected",
        f"│    puts back {OLD}, runs everywhere since 1m",
        "├─ conditions",
        "│  ├─ ✓ Applied: Applied",
        "│  └─ ✗ Loaded: PluginRejected",
        "├─ gateways 1/3 loaded, 1 failed",
        "│  ├─ ✗ edge/a Unhealthy: PluginRejected",
        f"│  ├─ ✓ edge/b Loaded {OLD}",
        "│  └─ and 1 more",
        "└─ history",
        f"   ├─  >  2       {NEW}  Failed  PluginRejected  r.example.com/auth:2  abababababab  2d     2h",
        f"   └─ *   1       {OLD}  Stable  -               r.example.com/auth:1  abababababab  1d     1h",
    ],
)
def test_a_tree_tells_all_that_the_status_does(line: str) -> None:
    """Phase, Ready with its message, artifact, rollout with what is put back, steps, pods and history: a line each."""
    assert line in _view.tree(rolled_back(), NOW, width=160).splitlines()


def test_what_went_well_needs_no_words() -> None:
    """The message of a pod that runs the plugin is left out; those of the others are read more easily."""
    assert "m" not in [line.strip("│ ") for line in _view.tree(rolled_back(), NOW).splitlines()]


def test_nothing_steers_the_terminal() -> None:
    """A gateway's words may come from a plugin's author: escape sequences in them are not passed on."""
    shown = _view.tree(rolled_back(), NOW)
    assert "?[2Jbad" in shown
    assert "\x1b" not in shown


def test_long_messages_are_wrapped_and_whole() -> None:
    """A message keeps all of its words, and no line that can be broken is longer than the terminal."""
    words = " ".join(f"word{number}" for number in range(60))
    status = {**ROLLED_BACK, "conditions": [condition("Ready", "False", "PluginRejected", words)]}
    lines = _view.tree(release(metadata__generation=2, status=status), NOW, width=80).splitlines()
    wrapped = [line for line in lines if "word" in line]
    assert max(map(len, wrapped)) <= 80
    assert " ".join(" ".join(line.strip("│ ") for line in wrapped).split()) == words


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": {}}, "No operator has looked at it yet"),
        ({"metadata__generation": 3}, "What follows is about generation 2 of the spec; 3 has not been looked at yet"),
        ({"metadata__deletionTimestamp": ago(seconds=1)}, "It is being deleted"),
        ({"spec__artifact__image__ref": "registry.example.com/plugins/auth:9"}, "wanted by the spec"),
        (
            {"spec__artifact__image": {"ref": "registry.example.com/plugins/auth", "semver": "2.x"}},
            "artifact registry.example.com/plugins/auth within 2.x",
        ),
    ],
)
def test_an_old_status_is_not_shown_as_the_present_one(changes: dict[str, Any], said: str) -> None:
    """Where the status is not about what is asked for now, the tree says so."""
    found = rolled_back(**changes)
    assert said in _view.tree(found, NOW, width=200)


@pytest.mark.parametrize(
    ("puts_back", "said"),
    [(None, "it stays as it is"), ("", "nothing ran before: the plugin is taken off"), (OLD, f"puts back {OLD}")],
)
def test_a_failure_says_what_runs_now(puts_back: str | None, said: str) -> None:
    """After a failure somebody must know what the gateways run: the new one, none, or the one before."""
    rollout = {**ROLLED_BACK["rollout"], "putsBack": puts_back, "putBackAt": None}
    found = release(metadata__generation=2, status={**ROLLED_BACK, "rollout": rollout})
    assert said in _view.tree(found, NOW, width=200)


def test_releases_stand_in_a_table() -> None:
    """One row a release; a star behind the phase says that the spec is newer than the status."""
    fresh = release(metadata__name="new", metadata__generation=1, metadata__creationTimestamp=ago(seconds=9))
    head, first, second = _view.overview([rolled_back(metadata__generation=3), fresh], NOW)
    assert head.split() == ["NAMESPACE", "NAME", "PHASE", "READY", "REASON", "LOADED", "REVISION", "AGE"]
    assert first.split() == ["istio-ingress", "auth", "RolledBack*", "False", "PluginRejected", "1/3", NEW, "-"]
    assert second.split() == ["istio-ingress", "new", "New*", "-", "-", "-", "-", "9s"]


def test_history_marks_what_ran_and_what_is_wanted() -> None:
    """* ran everywhere, > is wanted; a revision can be both."""
    _, failed, stable = _view.history(rolled_back().status, NOW)
    assert failed.startswith(" >")
    assert stable.startswith("* ")
    both = rolled_back().status.model_copy(update={"target_revision": OLD})
    assert _view.history(both, NOW)[2].startswith("*>")
    assert _view.history(api.Status(), NOW) == []
