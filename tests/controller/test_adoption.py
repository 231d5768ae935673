"""Objects that were somebody else's, or a release's of before a restore: kept, taken over, and given back."""

from __future__ import annotations

from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.core import revision
from pluginrelease.core.mesh import istio
from tests.controller.entries import (
    INTERNAL,
    JSON,
    LABELS,
    PUBLIC,
    carried,
    carrier,
    entries,
    kept,
    ran,
    revision_of,
    settle,
    two,
)
from tests.controller.scripted_api import ScriptedAPI
from tests.harness.releases import UID

# ------------------------------------------------------------------------------------------------------ adoption

FOREIGN: JSON = {
    "apiVersion": istio.TARGET.api_version,
    "kind": "WasmPlugin",
    "metadata": {"name": "auth-public", "namespace": "istio-ingress", "uid": "theirs", "labels": {"team": "edge"}},
    "spec": {"selector": {"matchLabels": LABELS}, "url": "oci://registry.example.com/theirs:1", "phase": "AUTHN"},
}


async def test_an_adopted_object_is_put_back_as_it_was(shows: dict[str, str]) -> None:
    """Its first revision fails: the object has its own spec and labels again, and is reported as not proven."""
    body = two(PUBLIC)
    body["spec"]["gateways"][0]["adopt"] = True
    body["spec"]["plugin"] = {"phase": "AUTHN"}
    cluster = ScriptedAPI(body, FOREIGN)
    shows[PUBLIC] = "refuses"
    ending = await settle(cluster, body)
    [found] = [thing for (kind, _, _), thing in cluster.objects.items() if kind.plural == "wasmplugins"]
    assert found["spec"] == FOREIGN["spec"]
    assert found["metadata"]["labels"].items() >= {"team": "edge", api.UID_LABEL: UID}.items()
    assert api.REVISION_ANNOTATION not in found["metadata"]["annotations"]
    [row] = ending.status.gateways
    assert (ending.status.phase, row.adopted is not None, row.revision) == ("RolledBack", True, None)


async def test_an_adopted_object_is_put_back_also_after_the_status_was_lost(shows: dict[str, str]) -> None:
    """What keeps it is found by the release's label: the object itself only says that it was adopted."""
    body = two(PUBLIC, spec__plugin={"phase": "AUTHN"})
    body["spec"]["gateways"][0]["adopt"] = True
    kept = revision.adopted_manifest(api.Release.model_validate(body), FOREIGN)
    written = carrier(body, PUBLIC)
    written["metadata"]["annotations"][api.ADOPTED_ANNOTATION] = "true"
    cluster = ScriptedAPI(body, written, kept)
    shows[PUBLIC] = "refuses"
    ending = await settle(cluster, body)
    [found] = [thing for (kind, _, _), thing in cluster.objects.items() if kind.plural == "wasmplugins"]
    assert found["spec"] == FOREIGN["spec"]
    [row] = ending.status.gateways
    assert (ending.status.phase, row.adopted) == ("RolledBack", kept["metadata"]["name"])


async def test_an_object_that_says_more_is_not_adopted(shows: dict[str, str]) -> None:
    """A field that the release does not set would go on acting beside it: nothing is written, and nothing kept."""
    body = two(PUBLIC)
    body["spec"]["gateways"][0]["adopt"] = True
    cluster = ScriptedAPI(body, FOREIGN)
    ending = await settle(cluster, body)
    assert "APPLY wasmplugins" not in cluster.requests
    ready = next(condition for condition in ending.status.conditions if condition.type == "Ready")
    assert (ready.reason, "spec.phase" in ready.message) == ("ForeignFields", True)
    assert ending.status.gateways[0].adopted is None


async def test_foreign_fields_are_taken_away_when_asked(shows: dict[str, str]) -> None:
    """The release owns the whole spec before its one write: the object is never without the one and the other."""
    body = two(PUBLIC, metadata__annotations={api.REMOVE_FOREIGN_FIELDS_ANNOTATION: PUBLIC})
    body["spec"]["gateways"][0]["adopt"] = True
    fields = {"f:spec": {"f:phase": {}, "f:url": {}}}
    owner = {"manager": "kubectl", "operation": "Update", "apiVersion": FOREIGN["apiVersion"], "fieldsV1": fields}
    cluster = ScriptedAPI(body, {**FOREIGN, "metadata": {**FOREIGN["metadata"], "managedFields": [owner]}})
    ending = await settle(cluster, body)
    order = [asked for asked in cluster.requests if asked.split()[1] == "wasmplugins"]
    assert [asked for asked in order if asked.split()[0] in ("MERGE", "APPLY")] == [
        "MERGE wasmplugins",
        "APPLY wasmplugins",
    ]
    assert ending.status.gateways[0].adopted is not None
    assert carried(cluster)[PUBLIC] == ending.status.target_revision


def adopted_before(*names: str, kept_as: str, **changes: Any) -> JSON:
    """Return a release whose first entry has adopted its object, and has run since."""
    body = two(*names, **changes)
    found = ran(body, {PUBLIC: revision_of(two(PUBLIC, INTERNAL))})
    found["status"]["gateways"][0]["adopted"] = kept_as
    return found


KEPT = revision.adopted_manifest(api.Release.model_validate(two()), FOREIGN)


def ours_of(body: JSON) -> JSON:
    """Return the adopted object as the release has written it."""
    found = carrier(body, PUBLIC)
    found["metadata"]["annotations"][api.ADOPTED_ANNOTATION] = "true"
    return found


@pytest.mark.parametrize(
    ("policy", "writes", "spec_is_theirs", "reason"),
    [
        (None, "APPLY wasmplugins", True, "nobody said: it is as it was before the entry came"),
        ("Orphan", "DISOWN wasmplugins", False, "it is to be left as it is"),
        ("Delete", "DELETE wasmplugins", False, "somebody said so"),
    ],
)
async def test_a_removed_entry_gives_back_what_it_adopted(
    shows: dict[str, str], policy: str | None, writes: str, spec_is_theirs: bool, reason: str
) -> None:
    """Only `deletionPolicy: Delete` deletes what was somebody's before."""
    changes = {"spec__deletionPolicy": policy} if policy else {}
    before = two()
    body = adopted_before(INTERNAL, kept_as=KEPT["metadata"]["name"], **changes)
    body["spec"]["gateways"] = entries(INTERNAL)
    cluster = ScriptedAPI(body, ours_of(before), KEPT)
    await settle(cluster, body)
    about_it = [asked for asked in cluster.writes() if asked.endswith("wasmplugins")]
    assert writes in about_it, reason
    found = [thing for (kind, _, name), thing in cluster.objects.items() if name == "auth-public"]
    assert bool(found and found[0]["spec"] == FOREIGN["spec"]) is spec_is_theirs
    if spec_is_theirs:
        metadata = found[0]["metadata"]
        assert metadata["labels"] == FOREIGN["metadata"]["labels"], "it is nobody's again"
        assert "annotations" not in metadata


async def test_what_was_adopted_and_is_not_kept_stays_and_is_said(shows: dict[str, str]) -> None:
    """Without the copy nobody knows what it was: it is left as it is, and an Event says so."""
    body = adopted_before(INTERNAL, kept_as="gone")
    body["spec"]["gateways"] = entries(INTERNAL)
    cluster = ScriptedAPI(body, ours_of(two()))
    ending = await settle(cluster, body)
    assert "DISOWN wasmplugins" in cluster.requests
    assert "LeftBehind" in [event.reason for event in ending.events]


async def test_what_was_adopted_is_put_back_when_asked(shows: dict[str, str]) -> None:
    """`rollback-to: adopted`: the object is as it was, the release owns it still, and is Stalled with the command."""
    body = adopted_before(PUBLIC, kept_as=KEPT["metadata"]["name"])
    body["metadata"]["annotations"] = {api.ROLLBACK_ANNOTATION: "adopted:1"}
    cluster = ScriptedAPI(body, ours_of(two(PUBLIC)), KEPT)
    ending = await settle(cluster, body)
    [found] = [thing for (kind, _, _), thing in cluster.objects.items() if kind.plural == "wasmplugins"]
    assert found["spec"] == FOREIGN["spec"]
    assert found["metadata"]["labels"][api.UID_LABEL] == UID
    conditions = {condition.type: (condition.status, condition.reason) for condition in ending.status.conditions}
    assert conditions["Ready"] == ("False", "RollbackTo")
    assert conditions["Stalled"] == ("True", "RollbackTo")
    assert conditions["Loaded"] == ("Unknown", "AdoptedPutBack")
    assert [row.state for row in ending.status.gateways] == ["Unknown"]


async def test_a_release_that_adopted_nothing_has_nothing_to_put_back(shows: dict[str, str]) -> None:
    """What runs goes on, and the message says why nothing else does."""
    body = ran(two(PUBLIC), {PUBLIC: revision_of(two())})
    body["metadata"]["annotations"] = {api.ROLLBACK_ANNOTATION: "adopted:1"}
    cluster = ScriptedAPI(body, carrier(two(PUBLIC), PUBLIC))
    ending = await settle(cluster, body)
    ready = next(condition for condition in ending.status.conditions if condition.type == "Ready")
    assert (ready.status, ready.reason, ending.status.phase) == ("False", "RevisionNotFound", "Refused")
    assert not [asked for asked in cluster.writes() if asked.endswith("wasmplugins")]


# --------------------------------------------------------------------------------------- a restore from a backup


def of_before_the_restore(thing: JSON) -> JSON:
    """Return an object as a backup has it: it knows the release by the uid that it had."""
    labels = {**thing["metadata"]["labels"], api.UID_LABEL: "former"}
    owners = [{"apiVersion": api.API_VERSION, "kind": api.KIND, "name": "auth", "uid": "former", "controller": True}]
    return {**thing, "metadata": {**thing["metadata"], "labels": labels, "ownerReferences": owners}}


async def test_what_a_backup_restored_is_taken_back(shows: dict[str, str]) -> None:
    """The release has another uid, and its object names it: it is written in place, with one owner, and an Event."""
    body = two(PUBLIC)
    cluster = ScriptedAPI(body, of_before_the_restore(carrier(body, PUBLIC)))
    ending = await settle(cluster, body)
    [found] = [thing for (kind, _, _), thing in cluster.objects.items() if kind.plural == "wasmplugins"]
    assert found["metadata"]["labels"][api.UID_LABEL] == UID
    assert [owner["uid"] for owner in found["metadata"]["ownerReferences"]] == [UID]
    assert "TakenBack" in [event.reason for event in ending.events]
    assert ending.status.phase == "Ready"
    assert cluster.requests.index("MERGE wasmplugins") < cluster.requests.index("APPLY wasmplugins")


async def test_a_kept_revision_that_a_backup_restored_is_taken_back(shows: dict[str, str]) -> None:
    """The ControllerRevision of the same name is the release's, whatever uid it knows: nothing is refused for it."""
    body = two(PUBLIC)
    plain = kept(body, body["spec"].get("plugin") or {})
    cluster = ScriptedAPI(body, of_before_the_restore(plain))
    ending = await settle(cluster, body)
    [found] = [thing for (kind, _, _), thing in cluster.objects.items() if kind.plural == "controllerrevisions"]
    assert found["metadata"]["labels"][api.UID_LABEL] == UID
    assert ending.status.phase == "Ready"


async def test_an_object_that_names_another_release_is_not_taken(shows: dict[str, str]) -> None:
    """A uid that is not ours beside another release's name is another's object, also with `adopt: true`."""
    body = two(PUBLIC)
    body["spec"]["gateways"][0]["adopt"] = True
    other = of_before_the_restore(carrier(body, PUBLIC))
    other["metadata"]["annotations"][api.RELEASE_ANNOTATION] = "istio-ingress/another"
    cluster = ScriptedAPI(body, other)
    ending = await settle(cluster, body)
    assert "APPLY wasmplugins" not in cluster.requests
    assert ending.status.gateways[0].reason == "ObjectNotOurs"


async def test_an_object_that_is_not_to_be_adopted_is_not_touched(shows: dict[str, str]) -> None:
    """Without `adopt: true` it is refused, with what to do."""
    body = two(PUBLIC)
    cluster = ScriptedAPI(body, FOREIGN)
    ending = await settle(cluster, body)
    assert "APPLY wasmplugins" not in cluster.requests
    assert (
        next(condition for condition in ending.status.conditions if condition.type == "Ready").reason == "ObjectNotOurs"
    )
