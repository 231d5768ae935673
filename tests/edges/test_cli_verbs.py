"""The verbs of a release against a real API server: statuses are written by hand, as the operator would write them."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pluginrelease import api
from pluginrelease.cli import main
from pluginrelease.cli._view import ViewText
from pluginrelease.cli._wait import WaitText
from pluginrelease_lab import operator
from pluginrelease_lab.host import Lab
from tests.edges.cli_release import (
    DEADLINE,
    FAILED,
    LOADING,
    MOVING,
    NAMESPACE,
    READY,
    STALLED,
    CommandResult,
    Node,
    Shop,
    condition,
    entry,
    line,
)
from tests.harness.releases import ARTIFACT

# ------------------------------------------------------------------------------------------------------ wait


@pytest.mark.parametrize(
    ("conditions", "goal", "code", "outcome"),
    [
        ([READY], "ready", 0, "ready"),
        ([READY], "settled", 0, "ready"),
        ([FAILED, STALLED], "ready", 1, "failed"),
        ([FAILED, STALLED], "settled", 1, "failed"),
        ([condition("Ready", "Unknown", "NoPositiveSign")], "settled", 1, "failed"),
    ],
)
def test_wait_tells_what_is_so_already(shop: Shop, conditions: list[Node], goal: str, code: int, outcome: str) -> None:
    """Exit code 0 for ready and 1 for failed, with the reason, at once."""
    shop.tell(*conditions)
    ended = shop.run("wait", "auth", "--for", goal, "-o", "json")
    assert ended.code == code
    assert ended.json["outcome"] == outcome
    assert ended.json["reason"] == conditions[0]["reason"]


@pytest.mark.parametrize(("last", "code"), [((READY,), 0), ((FAILED, STALLED), 1)])
def test_wait_sees_the_change_that_it_waits_for(shop: Shop, last: tuple[Node, ...], code: int) -> None:
    """It tells on stderr how far the release is, and ends with the status that decides."""
    with shop.running("wait", "auth") as waiting:
        line(waiting.stderr, WaitText.UNSEEN)
        shop.tell(LOADING, MOVING, phase="Loading")
        line(waiting.stderr, "Loading: AwaitingConfig: one gateway has not received it")
        shop.tell(*last)
        assert waiting.wait(DEADLINE) == code


def test_wait_is_not_content_with_an_old_answer(shop: Shop) -> None:
    """A release that was ready, or failed, before the spec changed is neither now: exit code 3 when time is over."""
    shop.tell(READY)
    shop.change(priority=1)
    late = shop.run("wait", "auth", "--timeout", "1s")
    assert late.code == 3
    assert "Error: NotInTime: cli-verbs/auth " in late.err
    shop.tell(FAILED, STALLED)
    assert shop.run("wait", "auth", "--timeout", "1s").code == 1


def test_wait_after_a_retry_waits_for_its_answer(shop: Shop) -> None:
    """A failure from before the retry does not end the waiting: the operator has to have seen the token."""
    shop.tell(FAILED, STALLED)
    with shop.running("retry", "auth", "--wait") as retrying:
        line(retrying.stderr, WaitText.UNSEEN)
        token = shop.release.metadata.annotations[api.RETRY_ANNOTATION]
        shop.tell(READY, handled={"retry": token})
        assert retrying.wait(DEADLINE) == 0


def test_wait_for_what_is_not_there(shop: Shop) -> None:
    """Exit code 4, also when the release is deleted meanwhile."""
    nothing = shop.run("wait", "other")
    assert nothing.code == 4
    assert re.search("ReleaseNotFound: .*cli-verbs/other", nothing.err)
    with shop.running("wait", "auth") as waiting:
        line(waiting.stderr, WaitText.UNSEEN)
        shop.lab.kubectl("delete", "prel", "auth", "-n", NAMESPACE)
        assert waiting.wait(DEADLINE) == 4


def test_wait_for_an_image_that_a_commit_brings(shop: Shop) -> None:
    """Ready with the image before is no answer; the new one is, as soon as it is written and has come to run."""
    shop.tell(READY)
    with shop.running("wait", "auth", "--image", "registry.example.com/plugins/auth:1.3") as waiting:
        line(waiting.stderr, "and not yet registry.example.com/plugins/auth:1.3")
        shop.change_image("registry.example.com/plugins/auth:1.3")
        line(waiting.stderr, WaitText.UNSEEN)
        shop.tell(READY)
        assert waiting.wait(DEADLINE) == 0


def test_wait_for_a_first_commit(shop: Shop) -> None:
    """With an image, a release that is not there yet is waited for: exit code 3 when time is over."""
    late = shop.run("wait", "other", "--image", "registry.example.com/plugins/auth:1.3", "--timeout", "1s")
    assert (late.code, WaitText.NOT_FOUND_YET in late.err) == (3, True)


# ---------------------------------------------------------------------------------------------------- status


def test_status_follows_a_release(shop: Shop) -> None:
    """--watch shows it anew at every change, and ends with Ctrl-C, without complaint."""
    with shop.running("status", "auth", "--watch") as watching:
        line(watching.stdout, ViewText.UNSEEN)
        shop.tell(LOADING, MOVING, phase="Loading")
        line(watching.stdout, "Ready: False, AwaitingConfig, Reconciling")
        shop.tell(READY, phase="Ready")
        line(watching.stdout, "Ready: True, Loaded")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(DEADLINE) == 0


def test_status_lists_releases(shop: Shop) -> None:
    """Without a name: a table of the namespace's releases, of all namespaces with -A; JSON has the whole status."""
    shop.tell(READY, phase="Ready")
    for everywhere in ((), ("-A",)):
        [row] = [line for line in shop.run("status", *everywhere).out.splitlines() if line.startswith(NAMESPACE)]
        assert row.split()[:7] == [NAMESPACE, "auth", "-", "-", "Ready", "True", "Loaded"]
    [item] = shop.run("status", "-o", "json").json["items"]
    assert (item["name"], item["current"], item["status"]["phase"]) == ("auth", True, "Ready")
    shop.change(priority=1)
    assert shop.run("status", "auth", "-o", "json").json["current"] is False


def test_status_of_an_unknown_release_names_the_others(shop: Shop) -> None:
    """A typo is told with the names that there are."""
    ended = shop.run("status", "aut")
    assert ended.code == 4
    assert re.search("ReleaseNotFound: .*cli-verbs/aut.*auth", ended.err)


def test_status_shows_a_new_release_without_blank_columns(shop: Shop) -> None:
    """`kubectl get` of a release that nobody has looked at has a word in every column but the last ones."""
    shown = shop.lab.kubectl("get", "prel", "auth", "-n", NAMESPACE)
    head, row = (line.split() for line in shown.splitlines())
    assert head == ["NAME", "GATEWAYS", "LOADED", "PHASE", "READY", "REASON", "REVISION", "AGE"]
    assert row[:6] == ["auth", "-", "-", "New", "Unknown", "Pending"]


# ---------------------------------------------------------------------------------------------- the actions


def test_each_retry_is_a_new_one(shop: Shop) -> None:
    """The annotation gets a value that it never had, by the command's own field manager; the spec is unchanged."""
    values = []
    for _ in range(2):
        assert shop.run("retry", "auth", "-o", "json").code == 0
        values.append(shop.release.metadata.annotations[api.RETRY_ANNOTATION])
    assert values[0] != values[1]
    shown = shop.lab.kubectl("get", "prel", "auth", "-n", NAMESPACE, "-o", "json", "--show-managed-fields")
    [own] = [
        managed
        for managed in json.loads(shown)["metadata"]["managedFields"]
        if managed["manager"] == "pluginrelease-cli"
    ]
    assert own["fieldsV1"] == {"f:metadata": {"f:annotations": {".": {}, f"f:{api.RETRY_ANNOTATION}": {}}}}
    assert shop.release.metadata.generation == 1


def test_rollback_asks_for_the_revision_before(shop: Shop) -> None:
    """The annotation names the revision, with a token; Git's users are told what is left for them to do."""
    shop.tell(READY, targetRevision="b" * 10, history=[entry("b" * 10, 2, "Stable"), entry("a" * 10, 1, "Superseded")])
    ended = shop.run("rollback", "auth")
    assert ended.code == 0
    assert "Git" in ended.err
    asked = shop.release.metadata.annotations[api.ROLLBACK_ANNOTATION]
    assert asked.partition(":")[0] == "a" * 10
    assert len(asked.partition(":")[2]) > 10


def test_rollback_and_wait(shop: Shop) -> None:
    """With --wait the exit code is that of the old revision's rollout."""
    shop.tell(READY, targetRevision="b" * 10, history=[entry("b" * 10, 2, "Stable"), entry("a" * 10, 1, "Superseded")])
    with shop.running("rollback", "auth", "--to", "aa", "--wait") as rolling:
        line(rolling.stderr, WaitText.UNSEEN)
        asked = shop.release.metadata.annotations[api.ROLLBACK_ANNOTATION]
        shop.tell(FAILED, STALLED, handled={"rollbackTo": asked})
        assert rolling.wait(DEADLINE) == 1


def test_rollback_and_wait_until_it_runs(shop: Shop) -> None:
    """The release is Stalled while something else runs than the spec wants, and --wait ends with 0."""
    shop.tell(READY, targetRevision="b" * 10, history=[entry("b" * 10, 2, "Stable"), entry("a" * 10, 1, "Superseded")])
    with shop.running("rollback", "auth", "--wait", "-o", "json") as rolling:
        line(rolling.stderr, WaitText.UNSEEN)
        asked = shop.release.metadata.annotations[api.ROLLBACK_ANNOTATION]
        shop.tell(
            condition("Ready", "False", "RollbackTo", "revision a was asked for"),
            condition("Stalled", "True", "RollbackTo"),
            handled={"rollbackTo": asked},
        )
        assert rolling.wait(DEADLINE) == 0
        assert rolling.stdout is not None
        assert json.loads(rolling.stdout.read())["outcome"] == "rolled-back"
    assert shop.run("wait", "auth").code == 1, "who waits for the spec has not got it"
    assert shop.run("wait", "auth", "--for", "rolled-back").code == 0


def test_rollback_to_nothing_known_changes_nothing(shop: Shop) -> None:
    """An unknown revision is refused with the list of those that there are."""
    shop.tell(READY, history=[entry("a" * 10, 1, "Stable")])
    ended = shop.run("rollback", "auth", "--to", "fffff")
    assert ended.code == 4
    assert f"Its revisions: {'a' * 10} ({ARTIFACT.ref}, Stable)" in ended.err
    assert api.ROLLBACK_ANNOTATION not in shop.release.metadata.annotations


def test_off_and_on(shop: Shop) -> None:
    """Off says why, and ends when the plugin is on no gateway; on takes the annotation off away."""
    shop.tell(READY)
    with shop.running("off", "auth", "--reason", "it drops requests", "--wait", "-o", "json") as switching:
        line(switching.stderr, WaitText.UNSEEN)
        asked = shop.release.metadata.annotations[api.OFF_ANNOTATION]
        assert asked.endswith(": it drops requests")
        shop.tell(
            condition("Ready", "False", "SwitchedOff", "switched off: it drops requests"),
            condition("Stalled", "True", "SwitchedOff"),
            handled={"off": asked},
            switchedOff={"at": "2026-01-01T00:00:00Z", "reason": "it drops requests"},
        )
        assert switching.wait(DEADLINE) == 0
        assert switching.stdout is not None
        assert json.loads(switching.stdout.read())["outcome"] == "off"
    assert shop.run("wait", "auth").code == 1, "who waits for the plugin has not got it"
    with shop.running("on", "auth", "--wait") as switching:
        line(switching.stderr, WaitText.UNSEEN)
        told = shop.release.metadata.annotations
        assert api.OFF_ANNOTATION not in told
        shop.tell(READY, handled={"off": asked, "on": told[api.ON_ANNOTATION]})
        assert switching.wait(DEADLINE) == 0


def test_off_wants_a_reason(shop: Shop) -> None:
    """Without one, or with an empty one, nothing is changed."""
    assert shop.run("off", "auth").code == 2
    assert shop.run("off", "auth", "--reason", " ").code == 2
    assert api.OFF_ANNOTATION not in shop.release.metadata.annotations


def test_history_is_a_table(shop: Shop) -> None:
    """Every revision with its state, and which one ran last and is wanted."""
    assert "auth" in shop.run("history", "auth").err
    shop.tell(READY, stableRevision="a" * 10, targetRevision="b" * 10, history=[entry("a" * 10, 1, "Stable")])
    assert f"*   1       {'a' * 10}  Stable" in shop.run("history", "auth").out
    [one] = shop.run("history", "auth", "-o", "json").json["revisions"]
    assert (one["stable"], one["target"], one["ref"]) == (True, False, ARTIFACT.ref)


# --------------------------------------------------------------------------------------------------- access


def account(lab: Lab, *roles: str) -> Path:
    """A kubeconfig of a new ServiceAccount that has these ClusterRoles of the chart in the namespace."""
    name = "-".join(("user", *roles))
    lab.kubectl("create", "serviceaccount", name, "-n", NAMESPACE)
    for role in roles:
        bound = (f"--clusterrole={operator.RELEASE}-{role}", f"--serviceaccount={NAMESPACE}:{name}")
        lab.kubectl("create", "rolebinding", f"{name}-{role}", *bound, "-n", NAMESPACE)
    return lab.kubeconfig_for(NAMESPACE, name, outside=True)


def allowed(shop: Shop, *arguments: str) -> CommandResult:
    """The command once the API server's authorizer, which nobody can watch, has seen the binding."""
    until = time.monotonic() + DEADLINE
    while True:
        ended = shop.run(*arguments)
        if "Forbidden" not in ended.err or time.monotonic() > until:
            return ended


def test_whoever_may_view_may_look_and_whoever_may_edit_may_act(released: Shop) -> None:
    """The chart's user roles are enough for the verbs, and a refusal is one line with a remedy."""
    rendered = operator.render(NAMESPACE, [])
    roles = [
        manifest for manifest in rendered if manifest["kind"] == "ClusterRole" and "aggregate" in json.dumps(manifest)
    ]
    released.lab.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(roles))
    nobody, viewer, editor = (
        Shop(released.lab, account(released.lab, *granted)) for granted in ((), ("view",), ("view", "edit"))
    )
    refused = nobody.run("status", "auth")
    assert refused.code == 5
    assert refused.err.startswith("Error: Forbidden: ")
    assert refused.err.count("\n") == 1
    revision_id = released.release.status.history[0].revision
    for verb in (["status", "auth"], ["wait", "auth"], ["history", "auth"]):
        assert allowed(viewer, *verb).code == 0, verb
    # ControllerRevisions are everybody's: the chart's roles do not show those of other workloads
    assert viewer.run("diff", "auth", "--from", revision_id).code == 5
    assert allowed(viewer, "diff", "auth") == CommandResult(0, "", "")
    assert viewer.run("retry", "auth").code == 5
    assert allowed(editor, "retry", "auth").code == 0
    released.lab.kubectl("delete", "-f", "-", stdin=yaml.safe_dump_all(roles))


def test_a_context_is_picked_by_name(shop: Shop, tmp_path: Path) -> None:
    """--context picks one of a kubeconfig, and with it the namespace; a wrong one is told with those that there are."""
    config = yaml.safe_load(shop.kubeconfig.read_text(encoding="utf-8"))
    [own] = config["contexts"]
    config["contexts"] = [own, {"name": "shop", "context": {**own["context"], "namespace": NAMESPACE}}]
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    file.chmod(0o600)
    command = ["status", "auth", "--kubeconfig", str(file), "--context"]
    found = CliRunner().invoke(main, [*command, "shop"], catch_exceptions=False)
    assert found.stdout.startswith(f"{NAMESPACE}/auth")
    wrong = CliRunner().invoke(main, [*command, "shup"], catch_exceptions=False)
    assert wrong.exit_code == 5
    assert "context shup" in wrong.stderr
    assert "shop" in wrong.stderr
