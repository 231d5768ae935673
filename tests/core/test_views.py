"""What the verbs show to people: tables of releases and what stands in the lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.cli import _view
from pluginrelease.cli._view import ViewText
from tests.harness.releases import ARTIFACT, DIGEST, release

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
OLD, NEW = "0123456789", "abcdefabcd"
WHY_PUBLIC = "one pod refused it"


def restores(revision: str, age: str = "") -> str:
    """What the tree says of a gateway that goes back to a revision, since when all of it runs that."""
    return ViewText.RESTORES.format(revision=revision, done=ViewText.RUNS_SINCE.format(age=age) if age else "")


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


def carrier(name: str) -> dict[str, str]:
    return {"apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin", "namespace": "edge", "name": name}


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
    "summary": {"gateways": "1/2", "pods": "2/4", "desired": 4, "loaded": 2, "failed": 1},
    "gateways": [
        {
            "name": "public",
            "object": carrier("auth-public"),
            "revision": OLD,
            "stable": {"revision": OLD},
            "state": "Unhealthy",
            "reason": "PluginRejected",
            "message": WHY_PUBLIC,
            "desired": 3,
            "loaded": 1,
            "failed": 1,
        },
        {
            "name": "internal",
            "object": carrier("legacy"),
            "adopted": "auth-adopted-1",
            "state": "Loaded",
            "reason": "Loaded",
            "message": "all is well",
            "desired": 1,
            "loaded": 1,
        },
    ],
    "pods": [
        {
            "gateway": "public",
            "name": "a",
            "namespace": "edge",
            "state": "Unhealthy",
            "reason": "PluginRejected",
            "message": "\x1b[2Jbad",
        },
        {
            "gateway": "public",
            "name": "b",
            "namespace": "edge",
            "state": "Loaded",
            "reason": "Loaded",
            "revision": OLD,
            "message": "m",
        },
        {"gateway": "internal", "name": "c", "namespace": "edge", "state": "Loaded", "reason": "Loaded"},
    ],
    "rollout": {
        "specHash": "1" * 10,
        "startedAt": ago(minutes=5),
        "failure": {
            "revision": NEW,
            "gateways": ["internal", "public"],
            "reason": "PluginRejected",
            "message": "no",
            "at": ago(minutes=4),
        },
        "fallbacks": [{"name": "public", "loadedAt": ago(seconds=100)}],
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
    assert _view.format_age(NOW - passed, NOW) == shown


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
        "│    goes back: internal, public",
        "├─ conditions",
        "│  ├─ ✓ Applied: Applied",
        "│  └─ ✗ Loaded: PluginRejected",
        "├─ gateways 1/2, pods 2/4 loaded, 1 failed",
        f"│  ├─ ✗ public 1/3 Unhealthy {OLD}: PluginRejected",
        f"│  │  │    {WHY_PUBLIC}",
        f"│  │  ├─ WasmPlugin edge/auth-public, stable {OLD}",
        f"│  │  ├─ {restores(OLD, '1m')}",
        "│  │  ├─ ✗ edge/a Unhealthy: PluginRejected",
        f"│  │  ├─ ✓ edge/b Loaded {OLD}",
        "│  │  └─ and 1 more",
        "│  └─ ✓ internal 1/1 Loaded",
        f"│     ├─ WasmPlugin edge/legacy, {ViewText.ADOPTED.format(kept='auth-adopted-1')}",
        f"│     ├─ {ViewText.RESTORES_ADOPTED}",
        "│     └─ ✓ edge/c Loaded",
        "└─ history",
        f"   ├─  >  2       {NEW}  Failed  PluginRejected  r.example.com/auth:2  abababababab  2d     2h",
        f"   └─ *   1       {OLD}  Stable  -               r.example.com/auth:1  abababababab  1d     1h",
    ],
)
def test_a_tree_tells_all_that_the_status_does(line: str) -> None:
    """Phase, Ready, artifact, rollout, steps and history: a line each; and a tree for each gateway with its pods."""
    assert line in _view.tree(rolled_back(), NOW, width=160).splitlines()


def test_what_went_well_needs_no_words() -> None:
    """The message of a pod or a gateway that runs the plugin is left out; the others are read more easily."""
    assert not {"m", "all is well"} & {line.strip("│ ") for line in _view.tree(rolled_back(), NOW).splitlines()}


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
        ({"status": {}}, ViewText.UNSEEN),
        ({"metadata__generation": 3}, ViewText.OLD.format(seen=2, generation=3)),
        ({"metadata__deletionTimestamp": ago(seconds=1)}, ViewText.DELETING),
        ({"spec__artifact__image__ref": "registry.example.com/plugins/auth:9"}, ViewText.UNRESOLVED),
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
    ("held", "row", "said", "unsaid"),
    [
        pytest.param(True, {"stable": {"revision": OLD}}, ViewText.STAYS, "restores", id="held"),
        pytest.param(None, {}, ViewText.REMOVES, "restores", id="nothing before"),
        pytest.param(None, {"adopted": "a"}, ViewText.RESTORES_ADOPTED, ViewText.REMOVES, id="adopted"),
        pytest.param(None, {"stable": {"revision": OLD}, "adopted": "a"}, restores(OLD), "the object", id="stable"),
    ],
)
def test_a_failure_says_what_each_gateway_runs_now(
    held: bool | None, row: dict[str, Any], said: str, unsaid: str
) -> None:
    """After a failure somebody must know what a gateway runs: the new one, none, the adopted, or the one before."""
    rollout = {**ROLLED_BACK["rollout"], "failure": {**ROLLED_BACK["rollout"]["failure"], "held": held}}
    entry = {"name": "public", "state": "Pending", "reason": "Pending", **row}
    found = release(metadata__generation=2, status={**ROLLED_BACK, "rollout": rollout, "gateways": [entry]})
    shown = _view.tree(found, NOW, width=200)
    assert said in shown
    assert unsaid not in shown


def test_a_gateway_that_another_did_not_drag_along_says_nothing_of_a_way_back() -> None:
    """Only the gateways that the failure names go back."""
    failure = {**ROLLED_BACK["rollout"]["failure"], "gateways": ["internal"]}
    found = rolled_back(status={**ROLLED_BACK, "rollout": {**ROLLED_BACK["rollout"], "failure": failure}})
    assert restores(OLD) not in _view.tree(found, NOW, width=200)


@pytest.mark.parametrize(("state", "mark"), [("NotPlaced", "✗"), ("Removing", "…"), ("Unknown", "?")])
def test_a_gateway_without_a_plugin_is_marked(state: str, mark: str) -> None:
    """What could not be placed, and what goes, are told from what loads."""
    entry = {"name": "gone", "state": state, "reason": "NamespaceNotFound", "message": "no such namespace"}
    lines = _view.tree(rolled_back(status={**ROLLED_BACK, "gateways": [entry]}), NOW, width=200).splitlines()
    assert f"│  └─ {mark} gone 0/0 {state}: NamespaceNotFound" in lines


def test_releases_stand_in_a_table() -> None:
    """One row a release; a star behind the phase says that the spec is newer than the status."""
    fresh = release(metadata__name="new", metadata__generation=1, metadata__creationTimestamp=ago(seconds=9))
    head, first, second = _view.overview([rolled_back(metadata__generation=3), fresh], NOW)
    heads = ["NAMESPACE", "NAME", "GATEWAYS", "LOADED", "PHASE", "READY", "REASON", "REVISION", "AGE"]
    assert head.split() == heads
    assert first.split() == ["istio-ingress", "auth", "1/2", "2/4", "RolledBack*", "False", "PluginRejected", NEW, "-"]
    assert second.split() == ["istio-ingress", "new", "-", "-", "New*", "-", "-", "-", "9s"]


def test_what_a_new_object_says_of_itself_is_not_taken_for_seen() -> None:
    """The API server gives a new object a Ready and counts for kubectl's columns: nobody has looked at it yet."""
    fresh = release(metadata__name="new", status=dict(api.UNSEEN))
    assert fresh.status == api.Status()
    assert _view.overview([fresh], NOW)[1].split()[2:7] == ["-", "-", "New*", "-", "-"]


def test_history_marks_what_ran_and_what_is_wanted() -> None:
    """* ran everywhere, > is wanted; a revision can be both."""
    _, failed, stable = _view.history(rolled_back().status, NOW)
    assert failed.startswith(" >")
    assert stable.startswith("* ")
    both = rolled_back().status.model_copy(update={"target_revision": OLD})
    assert _view.history(both, NOW)[2].startswith("*>")
    assert _view.history(api.Status(), NOW) == []
