"""What the verbs decide: when waiting is over, which revision a rollback means, what would be written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from pluginrelease import api
from pluginrelease.cli import _action, _manifest, _wait, main
from pluginrelease.cli._wait import WaitGoal
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh import istio
from pluginrelease.core.mesh.placement import Placement, placements
from tests.core.test_views import NEW, OLD, ROLLED_BACK, condition, entry
from tests.harness.releases import ARTIFACT, DIGEST, IMAGE, manifest, release

OTHER = "sha256:" + "cd" * 32

# ------------------------------------------------------------------------------------------------------ wait


def waiting(*conditions: dict[str, Any], **changes: Any) -> api.Release:
    """A release of generation 2 with these conditions."""
    return release(
        **{
            "metadata__generation": 2,
            "status__observedGeneration": 2,
            "status__conditions": list(conditions),
            **changes,
        }
    )


READY = condition("Ready", "True", "Loaded")
FAILED = condition("Ready", "False", "PluginRejected")
UNKNOWN = condition("Ready", "Unknown", "NoPositiveSign")
STALLED = condition("Stalled", "True", "PluginRejected")
MOVING = condition("Reconciling", "True", "AwaitingConfig")
RETRIED = {"pluginrelease.io/retry": "t2"}
ASKED = {**RETRIED, "pluginrelease.io/rollback-to": f"{OLD}:t1"}


def row(name: str, state: str = "Loaded") -> dict[str, Any]:
    """One entry's row."""
    return {"name": name, "state": state, "reason": state}


INSTEAD = condition("Ready", "False", "RollbackTo")
STALLED_INSTEAD = condition("Stalled", "True", "RollbackTo")


@pytest.mark.parametrize(
    ("found", "ready", "settled"),
    [
        pytest.param(release(), None, None, id="nobody has looked"),
        pytest.param(waiting(READY), 0, 0, id="ready"),
        pytest.param(waiting(FAILED, STALLED), 1, 1, id="failed"),
        pytest.param(waiting(FAILED, MOVING), None, None, id="on its way"),
        pytest.param(waiting(FAILED, MOVING, STALLED), 1, None, id="over its deadline and still tried"),
        pytest.param(waiting(UNKNOWN), None, 1, id="cannot be told: that may pass"),
        pytest.param(waiting(READY, metadata__generation=3), None, None, id="ready for the spec before"),
        pytest.param(waiting(FAILED, STALLED, metadata__generation=3), None, None, id="failed for the spec before"),
        pytest.param(
            waiting(FAILED, STALLED, metadata__annotations=RETRIED, status__handled={"retry": "t1"}),
            None,
            None,
            id="retried, not yet seen",
        ),
        pytest.param(
            waiting(READY, metadata__annotations=ASKED, status__handled={"retry": "t2"}),
            None,
            None,
            id="rollback unseen",
        ),
        pytest.param(
            waiting(READY, metadata__annotations=ASKED, status__handled={"retry": "t2", "rollbackTo": f"{OLD}:t1"}),
            0,
            0,
            id="both acted on",
        ),
        pytest.param(waiting(READY, status__handled={"retry": "t1"}), 0, 0, id="an action long ago"),
        pytest.param(waiting(INSTEAD, STALLED_INSTEAD), 1, 1, id="something else runs than the spec wants"),
    ],
)
def test_waiting_ends_with_the_answer_to_what_is_asked_now(
    found: api.Release, ready: int | None, settled: int | None
) -> None:
    """0 ready, 1 failed, None goes on; a status about an older spec, retry or rollback answers nothing."""
    outcomes = [_wait.judge(found, goal) for goal in (WaitGoal.READY, WaitGoal.SETTLED)]
    assert [None if outcome is None else int(outcome.code) for outcome in outcomes] == [ready, settled]


@pytest.mark.parametrize(
    ("found", "code", "word"),
    [
        pytest.param(waiting(INSTEAD, STALLED_INSTEAD), 0, "rolled-back", id="it runs everywhere"),
        pytest.param(waiting(INSTEAD, MOVING), None, None, id="on its way"),
        pytest.param(waiting(FAILED, STALLED), 1, "failed", id="it failed"),
        pytest.param(waiting(READY), 0, "ready", id="the spec's runs: the command has ended"),
        pytest.param(waiting(INSTEAD, STALLED_INSTEAD, metadata__generation=3), None, None, id="of an older spec"),
    ],
)
def test_waiting_for_a_rollback_ends_when_what_was_asked_for_runs(
    found: api.Release, code: int | None, word: str | None
) -> None:
    """Ready is False while something else runs than the spec wants: for who asked for it that is success."""
    outcome = _wait.judge(found, WaitGoal.ROLLED_BACK)
    assert (None if outcome is None else int(outcome.code), outcome and outcome.word) == (code, word)


OFF, STALLED_OFF = condition("Ready", "False", "SwitchedOff"), condition("Stalled", "True", "SwitchedOff")


@pytest.mark.parametrize(
    ("found", "code"),
    [
        pytest.param(waiting(OFF, STALLED_OFF, status__gateways=[row("public", state="Off")]), 0, id="on no gateway"),
        pytest.param(waiting(OFF, MOVING, status__gateways=[row("public")]), None, id="on its way"),
        pytest.param(waiting(OFF, STALLED_OFF, status__gateways=[row("public")]), 1, id="it could not be taken off"),
        pytest.param(waiting(READY, status__gateways=[row("public")]), None, id="not asked for, or not seen yet"),
    ],
)
def test_waiting_for_off_ends_when_the_plugin_is_on_no_gateway(found: api.Release, code: int | None) -> None:
    """Stalled alone is not enough: the API server may refuse to delete an object."""
    outcome = _wait.judge(found, WaitGoal.OFF)
    assert (None if outcome is None else int(outcome.code)) == code


def test_progress_counts_gateways_and_pods() -> None:
    """Whoever waits sees how far each has come."""
    summary = {"gateways": "1/2", "pods": "3/5", "desired": 5, "loaded": 3, "failed": 0}
    found = waiting(FAILED, MOVING, status__summary=summary, status__phase="Loading")
    assert _wait.progress(found).startswith("Loading gateways 1/2, pods 3/5 loaded: PluginRejected")


def test_progress_is_one_short_line() -> None:
    """What is told meanwhile fits a line of a log, and keeps escape sequences out of it."""
    line = _wait.progress(waiting(condition("Ready", "False", "FetchFailed", "\x1b[1m" + "x\n" * 500)))
    assert len(line) == _wait.SHOWN_MESSAGE
    assert line.isprintable()
    assert "FetchFailed" in line


# -------------------------------------------------------------------------------------------------- rollback


def past(*entries: dict[str, Any], **status: Any) -> api.Release:
    return release(status={"history": list(entries), **status})


def two_put_back() -> list[dict[str, Any]]:
    """Gateways with a stable revision each: an entry keeps its own."""
    public, internal = ROLLED_BACK["gateways"]
    return [public, {**internal, "stable": {"revision": "9" * 10}}]


def rows(*revisions: str | None) -> list[dict[str, Any]]:
    """What each gateway is to run now."""
    return [
        {"name": f"g{number}", "state": "Loaded", "reason": "Loaded", "revision": revision}
        for number, revision in enumerate(revisions)
    ]


THIRD, SECOND, FIRST = entry("3" * 10, 3, "Stable"), entry("2" * 10, 2, "Failed"), entry("1" * 10, 1, "Superseded")


@pytest.mark.parametrize(
    ("found", "named", "chosen"),
    [
        (past(THIRD, SECOND, FIRST, targetRevision="3" * 10), None, "1" * 10),
        (past(THIRD, SECOND, FIRST, targetRevision="2" * 10), None, "3" * 10),
        (past(THIRD, SECOND, FIRST, targetRevision="1" * 10), None, "3" * 10),
        (past(THIRD, SECOND, FIRST, targetRevision="3" * 10), "2" * 10, "2" * 10),
        (past(THIRD, SECOND, FIRST, targetRevision="3" * 10), "22", "2" * 10),
        (past(entry("22", 2, "Stable"), entry("2" * 10, 1, "Superseded")), "22", "22"),
        (release(status=ROLLED_BACK), OLD, OLD),
        (past(THIRD, SECOND, FIRST, targetRevision="2" * 10, gateways=rows("3" * 10, None)), None, "1" * 10),
        (past(THIRD, SECOND, FIRST, targetRevision="3" * 10, gateways=rows(None, None)), None, "3" * 10),
    ],
    ids=[
        "the one before",
        "failed and held",
        "rolled back already",
        "named",
        "its beginning",
        "exact wins",
        "stay",
        "what some gateway runs is no other",
        "what no gateway runs is one",
    ],
)
def test_a_rollback_goes_to_what_ran(found: api.Release, named: str | None, chosen: str) -> None:
    """Unnamed it is the newest that ran and does not run now; a failed one only by name."""
    assert _action.choose(found, named).wish == chosen


@pytest.mark.parametrize(
    ("found", "named", "reason", "words"),
    [
        (past(THIRD, targetRevision="3" * 10), None, "RevisionNotFound", "3" * 10),
        (release(), None, "RevisionNotFound", "none"),
        (
            past(THIRD, FIRST),
            "f",
            "RevisionNotFound",
            f"Its revisions: {'3' * 10} (r.example.com/auth:3",
        ),
        (past(entry("21", 2, "Stable"), entry("22", 1, "Failed")), "2", "RevisionNotFound", "several"),
        (past(THIRD), "", "RevisionNotFound", "''"),
        (
            release(status=ROLLED_BACK),
            None,
            "AlreadyPutBack",
            f"pluginrelease rollback auth -n istio-ingress --to {OLD}",
        ),
        (
            release(status={**ROLLED_BACK, "gateways": two_put_back()}),
            None,
            "AlreadyPutBack",
            f"{OLD} and {'9' * 10}",
        ),
    ],
)
def test_a_rollback_that_is_not_clear_is_refused(
    found: api.Release, named: str | None, reason: str, words: str
) -> None:
    """An unknown, ambiguous or missing revision changes nothing, and the message lists those that there are."""
    with pytest.raises(Refused) as refused:
        _action.choose(found, named)
    assert refused.value.reason == reason
    assert words in refused.value.sentence()


def test_every_token_is_new() -> None:
    """Asking twice within a second asks twice."""
    now = datetime.now(UTC)
    assert len({_action.token(now) for _ in range(50)}) == 50


# ---------------------------------------------------------------------------------------------------- render


def invoke(*arguments: str, stdin: str | None = None) -> Result:
    """The command, with no cluster to be found."""
    nowhere = {"KUBECONFIG": "/nonexistent", "HOME": "/nonexistent"}
    return CliRunner().invoke(main, list(arguments), input=stdin, env=nowhere)


def local(**changes: Any) -> str:
    """A manifest as people write it."""
    written = manifest(**changes)
    del written["metadata"]["uid"], written["metadata"]["generation"]
    return yaml.safe_dump(written)


def test_a_file_is_rendered_without_a_cluster() -> None:
    """`render -f -` prints the WasmPlugin that would be written, by the digest in the reference."""
    shown = invoke("render", "-f", "-", stdin=local(spec__artifact__image__ref=f"registry.example.com/a/b:1@{DIGEST}"))
    assert shown.exit_code == 0
    written = yaml.safe_load(shown.stdout)
    assert written["kind"] == "WasmPlugin"
    assert written["spec"]["url"] == f"oci://registry.example.com/a/b@{DIGEST}"


def test_a_tag_needs_a_digest() -> None:
    """A tag is never made up to a digest: the command says how to give one, and takes it."""
    refused = invoke("render", "-f", "-", stdin=local())
    assert refused.exit_code == 5
    assert refused.stdout == ""
    assert refused.stderr.startswith("Error: DigestUnknown: registry.example.com/plugins/auth:1.2 ")
    given = invoke("render", "-f", "-", "--digest", DIGEST, stdin=local())
    assert yaml.safe_load(given.stdout)["spec"]["url"] == f"oci://{IMAGE}"


def test_a_range_needs_a_digest() -> None:
    """So is a range of versions, and a status that is about it has the digest."""
    ranged = {"spec__artifact__image": {"ref": "registry.example.com/plugins/auth", "semver": "1.x"}}
    refused = invoke("render", "-f", "-", stdin=local(**ranged))
    assert refused.stderr.startswith("Error: DigestUnknown: registry.example.com/plugins/auth within 1.x ")
    given = invoke("render", "-f", "-", "--digest", DIGEST, stdin=local(**ranged))
    assert yaml.safe_load(given.stdout)["spec"]["url"] == f"oci://{IMAGE}"
    known = release(**ranged, status__artifact={**ARTIFACT.wire(), "semver": "1.x"})
    assert [rendered.manifest["spec"]["url"] for rendered in _manifest.render(known)] == [f"oci://{IMAGE}"]


def test_each_provider_has_its_own_object() -> None:
    """A release for Higress is rendered as Higress's WasmPlugin; without a selector one for Istio is refused."""
    gateways = [{"name": "main", "namespace": "higress-system"}]
    text = local(spec__provider="Higress", spec__gateways=gateways)
    given = invoke("render", "-f", "-", "--digest", DIGEST, stdin=text)
    assert yaml.safe_load(given.stdout)["apiVersion"] == "extensions.higress.io/v1alpha1"
    refused = invoke("render", "-f", "-", "--digest", DIGEST, stdin=local(spec__gateways=gateways))
    assert (refused.exit_code, refused.stdout) == (5, "")
    assert refused.stderr.startswith("Error: SelectorMissing")


def test_what_is_rendered_is_what_the_operator_writes() -> None:
    """Of a release in the cluster the very object of the operator is rendered, revision and owner included."""
    found = release(status__artifact=ARTIFACT.wire())
    [entry] = placements(found)
    assert [rendered.manifest for rendered in _manifest.render(found)] == [istio.wasm_plugin(entry, ARTIFACT)]


TWO = [
    {"name": "public", "namespace": "istio-ingress", "selector": {"matchLabels": {"istio": "ingressgateway"}}},
    {"name": "internal", "namespace": "edge", "selector": {"matchLabels": {"app": "edge"}}, "objectName": "guard"},
]


def test_each_gateway_has_an_object_of_its_own() -> None:
    """`render` prints one WasmPlugin for each entry: as YAML documents, as a List, or the one that is named."""
    text = local(spec__gateways=TWO)
    command = ("render", "-f", "-", "--digest", DIGEST)
    documents = list(yaml.safe_load_all(invoke(*command, stdin=text).stdout))
    places = [(document["metadata"]["namespace"], document["metadata"]["name"]) for document in documents]
    assert places == [("istio-ingress", "auth-public"), ("edge", "guard")]
    assert [document["spec"]["selector"]["matchLabels"] for document in documents] == [
        {"istio": "ingressgateway"},
        {"app": "edge"},
    ]
    listed = json.loads(invoke(*command, "-o", "json", stdin=text).stdout)
    assert (listed["kind"], listed["items"]) == ("List", documents)
    named = invoke(*command, "--gateway", "internal", "-o", "json", stdin=text)
    assert json.loads(named.stdout) == documents[1]


def test_an_unknown_gateway_is_told_with_those_that_there_are() -> None:
    """A typo in --gateway prints nothing, and ends with the code of what is not there."""
    refused = invoke("render", "-f", "-", "--digest", DIGEST, "--gateway", "publik", stdin=local(spec__gateways=TWO))
    assert (refused.exit_code, refused.stdout) == (4, "")
    assert refused.stderr.startswith("Error: GatewayNotFound: ")
    assert "Its gateways: public, internal" in refused.stderr


@pytest.mark.parametrize(
    ("changes", "digest", "image"),
    [
        ({"status__artifact": ARTIFACT.wire()}, None, IMAGE),
        ({"status__artifact": ARTIFACT.wire()}, OTHER, IMAGE.replace(DIGEST, OTHER)),
        (
            {"spec__artifact__image__ref": f"r.io/a@{OTHER}", "status__artifact": ARTIFACT.wire()},
            None,
            f"r.io/a@{OTHER}",
        ),
    ],
    ids=["the status knows the tag", "--digest wins", "the status is about another reference"],
)
def test_the_digest_is_that_of_the_reference(changes: dict[str, Any], digest: str | None, image: str) -> None:
    """A status helps only while it is about the same reference."""
    [rendered] = _manifest.render(release(**changes), digest)
    assert rendered.manifest["spec"]["url"] == f"oci://{image}"


def test_of_a_secret_only_the_name_is_told() -> None:
    """Which Secret the gateways pull with stands on stderr, so that stdout can be piped to kubectl."""
    text = local(metadata__namespace="team-a", spec__artifact__image__pullSecretRef={"name": "keys"})
    shown = invoke("render", "-f", "-", "--digest", DIGEST, stdin=text)
    secret = yaml.safe_load(shown.stdout)["spec"]["imagePullSecret"]
    assert shown.stderr.startswith("# ")
    assert f"istio-ingress/{secret}" in shown.stderr
    assert "team-a/keys" in shown.stderr
    there = local(metadata__namespace="team-a", spec__artifact__image__gatewayPullSecretRef={"name": "keys"})
    shown = invoke("render", "-f", "-", "--digest", DIGEST, stdin=there)
    assert yaml.safe_load(shown.stdout)["spec"]["imagePullSecret"] == "keys"
    assert shown.stderr.startswith("# ")
    assert "istio-ingress/keys" in shown.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: Deployment\n", "has 0 PluginReleases"),
        (local() + "---\n" + local(), "has 2 PluginReleases"),
        ("a: [\n", "line 2"),
        (local(spec__provider="Linkerd"), "spec.provider"),
        (local(spec=None), "spec: "),
        ("kind: PluginRelease\n", "metadata.name: Field required"),
        ("[1, 2]\n", "has 0 PluginReleases"),
        ("x" * (_manifest.MAX_FILE_BYTES + 1), str(_manifest.MAX_FILE_BYTES)),
    ],
)
def test_a_file_that_is_no_release_is_refused(text: str, words: str) -> None:
    """The error is one line that says where the file is wrong; it is an error of usage."""
    refused = invoke("render", "-f", "-", stdin=text)
    assert refused.exit_code == 2
    assert refused.stderr.startswith("Error: InvalidManifest: ")
    assert refused.stderr.count("\n") == 1
    assert words in refused.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """So is a file that cannot be opened."""
    refused = invoke("render", "-f", str(tmp_path / "none.yaml"))
    assert refused.exit_code == 2
    assert "none.yaml" in refused.stderr


# ------------------------------------------------------------------------------------------------------ diff


def live(**changes: Any) -> dict[str, Any]:
    """The WasmPlugin of a release, as the API server gives it, with others' marks on it."""
    [entry] = placements(release(status__artifact=ARTIFACT.wire(), **changes))
    found = istio.wasm_plugin(entry, ARTIFACT, nudge=3)
    metadata = found["metadata"] | {"resourceVersion": "7", "uid": "u", "managedFields": [{"manager": "x"}]}
    metadata["labels"] = metadata["labels"] | {"argocd.argoproj.io/instance": "shop"}
    metadata["ownerReferences"] = [*metadata["ownerReferences"], {"uid": "somebody", "kind": "Other"}]
    return {**found, "metadata": metadata}


def only(found: api.Release) -> Placement:
    """The one entry of a release."""
    [entry] = placements(found)
    return entry


def differs(observed: dict[str, Any] | None, wanted: api.Release) -> list[str]:
    """The changed lines of the diff, without its head."""
    rendered = _manifest.render_unresolved(only(wanted)).manifest
    before = None if observed is None else _manifest.strip_metadata(observed, rendered)
    text = _manifest.diff_objects(before, rendered, titles=("live", "spec"))
    return [line for line in text.splitlines()[2:] if line[0] in "+-"]


def test_what_is_others_is_no_difference() -> None:
    """Labels, owners and notes of others, and how often gateways were nudged, are not what a spec changes."""
    assert differs(live(), release(status__artifact=ARTIFACT.wire())) == []


def test_a_changed_field_is_a_difference() -> None:
    """A change of the spec shows in its line, and as a new revision."""
    shown = differs(live(), release(status__artifact=ARTIFACT.wire(), spec__plugin__failStrategy="FAIL_OPEN"))
    assert "-  failStrategy: FAIL_CLOSE" in shown
    assert "+  failStrategy: FAIL_OPEN" in shown
    assert sum("pluginrelease.io/revision" in line for line in shown) == 2
    assert len(shown) == 4


def test_a_reference_that_nobody_resolved_is_shown_as_it_is() -> None:
    """A new tag cannot be compared by digest: it stands in the diff, and a note says so."""
    wanted = release(status__artifact=ARTIFACT.wire(), spec__artifact__image__ref="registry.example.com/plugins/auth:9")
    shown = differs(live(), wanted)
    assert "+  url: oci://registry.example.com/plugins/auth:9" in shown
    assert "+    pluginrelease.io/revision: unresolved" in shown
    assert "registry.example.com/plugins/auth:9" in _manifest.render_unresolved(only(wanted)).notes[0]


def test_without_an_object_all_of_it_is_new() -> None:
    """Before the first write every line is added."""
    shown = differs(None, release(status__artifact=ARTIFACT.wire()))
    assert all(line.startswith("+") for line in shown)
    assert "+kind: WasmPlugin" in shown


# ---------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            ["status", "--kubeconfig", "/nonexistent"],
            5,
            "KubeconfigUnusable: the kubeconfig /nonexistent",
        ),
        (["wait", "auth", "-n", "a", "--kubeconfig", "/nonexistent"], 5, "/nonexistent"),
        (["wait", "auth", "--timeout", "soon"], 2, "'soon'"),
        (["wait"], 2, "Missing argument 'NAME'"),
        (["status", "--watch"], 2, "--watch needs NAME"),
        (["status", "auth", "-A"], 2, "--all-namespaces"),
        (["render"], 2, "give NAME, or -f FILE"),
        (["diff"], 2, "give NAME, or -f FILE"),
        (["diff", "-f", "a", "--to", NEW], 2, "give one"),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, list) else "",
)
def test_errors_have_a_code_and_no_traceback(arguments: list[str], code: int, words: str) -> None:
    """Every error that a user can make is said in words, with the exit code of docs/cli.md."""
    ended = invoke(*arguments)
    assert ended.exit_code == code
    assert words in ended.stderr
    assert ended.stdout == ""
