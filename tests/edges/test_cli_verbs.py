"""The verbs of a release against a real API server: statuses are written by hand, as the operator would write them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest
import yaml
from click.testing import CliRunner

from pluginrelease import api
from pluginrelease.cli import main
from pluginrelease.core import revision
from pluginrelease.core.mesh import istio
from pluginrelease.core.mesh.placement import placements
from pluginrelease_lab import operator
from pluginrelease_lab.host import Lab
from tests.harness.releases import ARTIFACT, manifest

NAMESPACE = "cli-verbs"
DEADLINE = 30.0
TIME = "2026-01-01T00:00:00Z"

Node = dict[str, Any]


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def heed_ctrl_c() -> None:
    """A shell starts what runs in the background with SIGINT ignored, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Shop:
    """A namespace of the lab with one release, ``auth``, and the command for it."""

    def __init__(self, lab: Lab, kubeconfig: Path) -> None:
        self.lab, self.kubeconfig = lab, kubeconfig
        self.place = ("--kubeconfig", str(kubeconfig), "-n", NAMESPACE)

    def run(self, *arguments: str, stdin: str = "") -> Ended:
        """The command, to its end."""
        ended = CliRunner().invoke(main, [*arguments, *self.place], input=stdin, catch_exceptions=False)
        return Ended(ended.exit_code, ended.stdout, ended.stderr)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """The command while it runs. Ctrl-C reaches it, also where the tests themselves run in the background."""
        argv = [sys.executable, "-m", "pluginrelease.cli", *arguments, *self.place]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "bufsize": 1}
        with subprocess.Popen(argv, **pipes, preexec_fn=heed_ctrl_c) as process:
            try:
                yield process
            finally:
                process.kill()

    def get(self) -> Node:
        found: Node = json.loads(self.lab.kubectl("get", "prel", "auth", "-n", NAMESPACE, "-o", "json"))
        return found

    @property
    def release(self) -> api.Release:
        return api.Release.model_validate(self.get())

    def tell(self, *conditions: Node, **status: Any) -> None:
        """Writes the whole status by server-side apply, as the end of a pass does."""
        told = {"observedGeneration": self.get()["metadata"]["generation"], **status, "conditions": list(conditions)}
        body = {**head(), "status": told}
        server_side = ("--server-side", "--subresource=status", "--field-manager=pluginrelease", "--force-conflicts")
        self.lab.kubectl("apply", *server_side, "-f", "-", stdin=json.dumps(body))

    def change(self, **plugin: Any) -> None:
        """A new generation of the spec."""
        patch = json.dumps({"spec": {"plugin": plugin}})
        self.lab.kubectl("patch", "prel", "auth", "-n", NAMESPACE, "--type=merge", "-p", patch)

    def create(self, thing: Node) -> None:
        self.lab.kubectl("create", "-f", "-", stdin=json.dumps(thing))


def head() -> Node:
    return {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": {"name": "auth", "namespace": NAMESPACE}}


def written() -> Node:
    """The release as its users write it: gateways in its own namespace."""
    return {**head(), "spec": manifest(spec__gateways__0__namespace=NAMESPACE)["spec"]}


def condition(kind: str, status: str, reason: str, message: str = "") -> Node:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": TIME}


def entry(revision_id: str, number: int, state: str) -> Node:
    times = {"firstDeployed": TIME, "lastDeployed": TIME}
    named = {"ref": ARTIFACT.ref, "digest": ARTIFACT.digest}
    return {"revision": revision_id, "number": number, "state": state, **named, **times}


READY = condition("Ready", "True", "Loaded", "2 of 2 gateway pods run it")
LOADING = condition("Ready", "False", "AwaitingConfig", "one gateway has not received it")
MOVING = condition("Reconciling", "True", "AwaitingConfig")
FAILED = condition("Ready", "False", "PluginRejected", "no such function")
STALLED = condition("Stalled", "True", "PluginRejected")


@pytest.fixture
def shop(cluster: Lab) -> Iterator[Shop]:
    """The namespace with a new release in it."""
    shop = Shop(cluster, cluster.kubeconfig)
    shop.create(written())
    yield shop
    cluster.kubectl("delete", "prel,wasmplugin,controllerrevision", "--all", "-n", NAMESPACE)


def line(stream: IO[str] | None, words: str) -> str:
    """The next line with these words."""
    assert stream is not None
    for found in stream:
        if words in found:
            return found
    raise AssertionError(f"the stream ended without {words!r}")


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
        line(waiting.stderr, "has not looked")
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
    assert "Error: NotInTime: cli-verbs/auth is not ready after 1 s" in late.err
    shop.tell(FAILED, STALLED)
    assert shop.run("wait", "auth", "--timeout", "1s").code == 1


def test_wait_after_a_retry_waits_for_its_answer(shop: Shop) -> None:
    """A failure from before the retry does not end the waiting: the operator has to have seen the token."""
    shop.tell(FAILED, STALLED)
    with shop.running("retry", "auth", "--wait") as retrying:
        line(retrying.stderr, "has not looked")
        token = shop.release.metadata.annotations[api.RETRY_ANNOTATION]
        shop.tell(READY, handled={"retry": token})
        assert retrying.wait(DEADLINE) == 0


def test_wait_for_what_is_not_there(shop: Shop) -> None:
    """Exit code 4, also when the release is deleted meanwhile."""
    nothing = shop.run("wait", "other")
    assert nothing.code == 4
    assert "ReleaseNotFound: there is no PluginRelease cli-verbs/other" in nothing.err
    with shop.running("wait", "auth") as waiting:
        line(waiting.stderr, "has not looked")
        shop.lab.kubectl("delete", "prel", "auth", "-n", NAMESPACE)
        assert waiting.wait(DEADLINE) == 4


# ---------------------------------------------------------------------------------------------------- status


def test_status_follows_a_release(shop: Shop) -> None:
    """--watch shows it anew at every change, and ends with Ctrl-C, without complaint."""
    with shop.running("status", "auth", "--watch") as watching:
        line(watching.stdout, "No operator has looked at it yet")
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
    assert "The namespace has auth" in ended.err


# ---------------------------------------------------------------------------------------------- the actions


def test_each_retry_is_a_new_one(shop: Shop) -> None:
    """The annotation gets a value that it never had, by the command's own field manager; the spec is unchanged."""
    values = []
    for _ in range(2):
        assert shop.run("retry", "auth", "-o", "json").code == 0
        values.append(shop.release.metadata.annotations[api.RETRY_ANNOTATION])
    assert values[0] != values[1]
    shown = shop.lab.kubectl("get", "prel", "auth", "-n", NAMESPACE, "-o", "json", "--show-managed-fields")
    [own] = [one for one in json.loads(shown)["metadata"]["managedFields"] if one["manager"] == "pluginrelease-cli"]
    assert own["fieldsV1"] == {"f:metadata": {"f:annotations": {".": {}, f"f:{api.RETRY_ANNOTATION}": {}}}}
    assert shop.release.metadata.generation == 1


def test_rollback_asks_for_the_revision_before(shop: Shop) -> None:
    """The annotation names the revision, with a token; Git's users are told what is left for them to do."""
    shop.tell(READY, targetRevision="b" * 10, history=[entry("b" * 10, 2, "Stable"), entry("a" * 10, 1, "Superseded")])
    ended = shop.run("rollback", "auth")
    assert ended.code == 0
    assert "never writes to Git" in ended.err
    asked = shop.release.metadata.annotations[api.ROLLBACK_ANNOTATION]
    assert asked.partition(":")[0] == "a" * 10
    assert len(asked.partition(":")[2]) > 10


def test_rollback_and_wait(shop: Shop) -> None:
    """With --wait the exit code is that of the old revision's rollout."""
    shop.tell(READY, targetRevision="b" * 10, history=[entry("b" * 10, 2, "Stable"), entry("a" * 10, 1, "Superseded")])
    with shop.running("rollback", "auth", "--to", "aa", "--wait") as rolling:
        line(rolling.stderr, "has not looked")
        asked = shop.release.metadata.annotations[api.ROLLBACK_ANNOTATION]
        shop.tell(FAILED, STALLED, handled={"rollbackTo": asked})
        assert rolling.wait(DEADLINE) == 1


def test_rollback_and_wait_until_it_runs(shop: Shop) -> None:
    """The release is Stalled while something else runs than the spec wants, and --wait ends with 0."""
    shop.tell(READY, targetRevision="b" * 10, history=[entry("b" * 10, 2, "Stable"), entry("a" * 10, 1, "Superseded")])
    with shop.running("rollback", "auth", "--wait", "-o", "json") as rolling:
        line(rolling.stderr, "has not looked")
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


def test_history_is_a_table(shop: Shop) -> None:
    """Every revision with its state, and which one ran last and is wanted."""
    assert "has written nothing" in shop.run("history", "auth").err
    shop.tell(READY, stableRevision="a" * 10, targetRevision="b" * 10, history=[entry("a" * 10, 1, "Stable")])
    assert f"*   1       {'a' * 10}  Stable" in shop.run("history", "auth").out
    [one] = shop.run("history", "auth", "-o", "json").json["revisions"]
    assert (one["stable"], one["target"], one["ref"]) == (True, False, ARTIFACT.ref)


# ------------------------------------------------------------------------------------------- diff and render


@pytest.fixture
def released(shop: Shop) -> Shop:
    """The release with what the operator writes for it: WasmPlugin, ControllerRevision and status."""
    found = shop.release
    for entry_placement in placements(found):
        shop.create(istio.wasm_plugin(entry_placement, ARTIFACT))
    shop.create(revision.manifest(found, ARTIFACT, 1))
    wanted = revision.compute_identity(found.spec, ARTIFACT.digest)
    shop.tell(READY, targetRevision=wanted, artifact=ARTIFACT.wire(), history=[entry(wanted, 1, "Stable")])
    return shop


def test_diff_is_quiet_while_all_is_as_wanted(released: Shop) -> None:
    """Exit code 0 and no output: what the API server added to the object is no difference."""
    assert released.run("diff", "auth") == Ended(0, "", "")


def test_diff_shows_a_change_of_the_spec(released: Shop) -> None:
    """Exit code 1 and a unified diff: of the spec, of a file that is not applied yet, of what another hand changed."""
    released.change(priority=7)
    ended = released.run("diff", "auth")
    assert ended.code == 1
    assert "+  priority: 7" in ended.out
    changed = {**written(), "spec": {**written()["spec"], "plugin": {"phase": "AUTHN"}}}
    ended = released.run("diff", "-f", "-", stdin=yaml.safe_dump(changed))
    assert ended.code == 1
    assert "+  phase: AUTHN" in ended.out
    assert "priority" not in ended.out
    patch = '{"spec":{"failStrategy":"FAIL_OPEN"}}'
    released.lab.kubectl("patch", "wasmplugin", "auth-public", "-n", NAMESPACE, "--type=merge", "-p", patch)
    assert "-  failStrategy: FAIL_OPEN" in released.run("diff", "auth").out


def test_diff_between_revisions(released: Shop) -> None:
    """Two kept revisions are compared whole, also when neither of them runs."""
    first = released.release.status.history[0].revision
    released.change(config={"deny": ["a"]})
    found = released.release
    released.create(revision.manifest(found, ARTIFACT, 2))
    second = revision.compute_identity(found.spec, ARTIFACT.digest)
    released.tell(READY, history=[entry(second, 2, "Stable"), entry(first, 1, "Superseded")])
    ended = released.run("diff", "auth", "--from", first, "--to", second[:6], "-o", "json")
    assert ended.code == 1
    [gateway] = ended.json["gateways"]
    assert (ended.json["different"], gateway["name"], gateway["from"]) == (True, "public", f"revision {first}")
    assert "+  pluginConfig:\n+    deny:\n+    - a\n" in gateway["diff"]
    assert released.run("diff", "auth", "--from", first, "--to", first).code == 0


def test_diff_of_a_revision_that_is_not_kept(released: Shop) -> None:
    """An error has another exit code than a difference."""
    ended = released.run("diff", "auth", "--from", "fffff")
    assert ended.code == 4
    assert "RevisionNotFound" in ended.err


def test_diff_before_the_first_write(shop: Shop) -> None:
    """Without a WasmPlugin all of it is new, and an unresolved tag is said to be one."""
    ended = shop.run("diff", "auth")
    assert ended.code == 1
    assert "+kind: WasmPlugin" in ended.out
    assert "was not resolved to a digest yet" in ended.err


INTERNAL = {"name": "internal", "namespace": NAMESPACE, "selector": {"matchLabels": {"app": "edge"}}}


def with_gateways(*more: Node) -> Node:
    """The release with more entries, as a file that is not applied yet."""
    spec = written()["spec"]
    return {**written(), "spec": {**spec, "gateways": [*spec["gateways"], *more]}}


def test_diff_shows_an_entry_that_comes(released: Shop) -> None:
    """A new entry is a new object; that of the others is no difference, and --gateway picks one."""
    text = yaml.safe_dump(with_gateways(INTERNAL))
    ended = released.run("diff", "-f", "-", "-o", "json", stdin=text)
    assert ended.code == 1
    assert [(one["name"], one["different"]) for one in ended.json["gateways"]] == [
        ("public", False),
        ("internal", True),
    ]
    assert "+  name: auth-internal\n" in ended.json["gateways"][1]["diff"]
    assert released.run("diff", "-f", "-", "--gateway", "public", stdin=text).code == 0
    unknown = released.run("diff", "auth", "--gateway", "internal")
    assert unknown.code == 4
    assert "GatewayNotFound" in unknown.err


def row_of(name: str, **more: Any) -> Node:
    """What the status says of an entry that was written."""
    written_object = {
        "apiVersion": istio.TARGET.api_version,
        "kind": "WasmPlugin",
        "namespace": NAMESPACE,
        "name": name,
    }
    return {"name": "public", "state": "Loaded", "reason": "Loaded", "object": written_object, **more}


@pytest.mark.parametrize(
    ("adopted", "code"), [pytest.param(None, 1, id="it was made"), pytest.param("auth-adopted-1", 0, id="adopted")]
)
def test_diff_shows_an_entry_that_goes(released: Shop, adopted: str | None, code: int) -> None:
    """The object of an entry that is gone from the spec goes, or stays when it was somebody else's before."""
    released.tell(READY, gateways=[row_of("auth-public", **({"adopted": adopted} if adopted else {}))])
    changed = written()
    changed["spec"] = {**changed["spec"], "gateways": [INTERNAL]}
    ended = released.run("diff", "-f", "-", "--gateway", "public", stdin=yaml.safe_dump(changed))
    assert ended.code == code
    assert ("-kind: WasmPlugin" in ended.out) is (code == 1)
    assert ("stays" in ended.err) is (code == 0)


def test_diff_says_what_is_taken_over(shop: Shop) -> None:
    """An object that is somebody else's is told as such, and with adopt: true that it is taken over."""
    theirs = {"apiVersion": istio.TARGET.api_version, "kind": "WasmPlugin"}
    spec = {"url": "oci://registry.example.com/theirs:1", "selector": {"matchLabels": {"app": "edge"}}}
    shop.create({**theirs, "metadata": {"name": "guard", "namespace": NAMESPACE}, "spec": spec})
    entry_of = {**INTERNAL, "objectName": "guard"}
    refused = shop.run("diff", "-f", "-", "--gateway", "internal", stdin=yaml.safe_dump(with_gateways(entry_of)))
    assert (refused.code, "ObjectNotOurs" in refused.err) == (1, True)
    taken = yaml.safe_dump(with_gateways({**entry_of, "adopt": True}))
    ended = shop.run("diff", "-f", "-", "--gateway", "internal", stdin=taken)
    assert (ended.code, "is taken over" in ended.err) == (1, True)


def test_status_shows_a_new_release_without_blank_columns(shop: Shop) -> None:
    """`kubectl get` of a release that nobody has looked at has a word in every column but the last ones."""
    shown = shop.lab.kubectl("get", "prel", "auth", "-n", NAMESPACE)
    head, row = (line.split() for line in shown.splitlines())
    assert head == ["NAME", "GATEWAYS", "LOADED", "PHASE", "READY", "REASON", "REVISION", "AGE"]
    assert row[:6] == ["auth", "-", "-", "New", "Unknown", "Pending"]


def test_render_prints_what_is_in_the_cluster(released: Shop) -> None:
    """`render` of an unchanged release is what the API server takes without a change."""
    ended = released.run("render", "auth")
    assert ended.code == 0
    answer = released.lab.kubectl(
        "apply", "--server-side", "--dry-run=server", "-f", "-", "-o", "json", stdin=ended.out
    )
    live = released.lab.kubectl("get", "wasmplugin", "auth-public", "-n", NAMESPACE, "-o", "json")
    assert json.loads(answer)["spec"] == json.loads(live)["spec"]


# --------------------------------------------------------------------------------------------------- access


def account(lab: Lab, *roles: str) -> Path:
    """A kubeconfig of a new ServiceAccount that has these ClusterRoles of the chart in the namespace."""
    name = "-".join(("user", *roles))
    lab.kubectl("create", "serviceaccount", name, "-n", NAMESPACE)
    for role in roles:
        bound = (f"--clusterrole={operator.RELEASE}-{role}", f"--serviceaccount={NAMESPACE}:{name}")
        lab.kubectl("create", "rolebinding", f"{name}-{role}", *bound, "-n", NAMESPACE)
    return lab.kubeconfig_for(NAMESPACE, name, outside=True)


def allowed(shop: Shop, *arguments: str) -> Ended:
    """The command once the API server's authorizer, which nobody can watch, has seen the binding."""
    until = time.monotonic() + DEADLINE
    while True:
        ended = shop.run(*arguments)
        if "Forbidden" not in ended.err or time.monotonic() > until:
            return ended


def test_whoever_may_view_may_look_and_whoever_may_edit_may_act(released: Shop) -> None:
    """The chart's user roles are enough for the verbs, and a refusal is one line with a remedy."""
    rendered = operator.render(NAMESPACE, [])
    roles = [one for one in rendered if one["kind"] == "ClusterRole" and "aggregate" in json.dumps(one)]
    released.lab.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(roles))
    nobody, viewer, editor = (
        Shop(released.lab, account(released.lab, *granted)) for granted in ((), ("view",), ("view", "edit"))
    )
    refused = nobody.run("status", "auth")
    assert refused.code == 5
    assert refused.err.startswith("Error: Forbidden: the API server does not allow this: ")
    assert refused.err.count("\n") == 1
    revision_id = released.release.status.history[0].revision
    for verb in (["status", "auth"], ["wait", "auth"], ["history", "auth"], ["diff", "auth", "--from", revision_id]):
        assert allowed(viewer, *verb).code == 0, verb
    assert allowed(viewer, "diff", "auth") == Ended(0, "", "")
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
    assert "it has no context shup; there is: " in wrong.stderr
    assert "shop" in wrong.stderr
