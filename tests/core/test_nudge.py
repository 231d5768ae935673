"""What a nudge changes of the object: enough that every control plane sends it again, nothing that Envoy loads."""

from __future__ import annotations

from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.core import revision
from pluginrelease.core.mesh import providers
from pluginrelease.core.mesh.placement import placements
from pluginrelease.core.rollout import plan
from tests.harness.releases import ARTIFACT, manifest

JSON = dict[str, Any]

RELEASES = {
    "Istio": api.Release.model_validate(manifest()),
    "Higress": api.Release.model_validate(
        manifest(
            spec__provider="Higress",
            spec__gateways=[{"name": "public", "namespace": "higress-system"}],
            spec__plugin__priority=3,
        )
    ),
}


def rendered(provider: str, nudge: int) -> JSON:
    [placement] = placements(RELEASES[provider])
    return providers.plugin_api_of(placement.spec).wasm_plugin(placement, ARTIFACT, nudge)


def istiod_sends(before: JSON, after: JSON) -> bool:
    """Whether an update goes to gateways: the rule of istiod since 1.12, and of Higress's fork of 1.19.

    pilot/pkg/bootstrap/config_compare.go, read in 1.12.0, 1.17.0, 1.20.0, 1.24.0, 1.27.1, 1.28.0, 1.29.2 and 1.30.0,
    and in higress-group/istio 1dbd773: a label or an annotation with ``istio.io`` in its key, before or after, or
    another spec.
    """
    marks = [
        key
        for manifest in (before, after)
        for part in ("labels", "annotations")
        for key in manifest["metadata"].get(part) or {}
    ]
    return any("istio.io" in key for key in marks) or before["spec"] != after["spec"]


def over_mcp(thing: JSON) -> JSON:
    """What Higress hands over: name and spec (alibaba/higress pkg/ingress/config/ingress_config.go)."""
    own = thing["metadata"]
    return {"metadata": {"name": own["name"], "namespace": own["namespace"]}, "spec": thing["spec"]}


@pytest.mark.parametrize("provider", RELEASES)
@pytest.mark.parametrize("nudge", [0, 1, 2, 3, 10])
def test_every_nudge_is_sent_by_every_istiod(provider: str, nudge: int) -> None:
    """Each one, and not only the first, is a change that istiod sends, also where no metadata arrives."""
    before, after = rendered(provider, nudge), rendered(provider, nudge + 1)
    assert istiod_sends(before, after)
    assert istiod_sends(over_mcp(before), over_mcp(after))


@pytest.mark.parametrize("provider", RELEASES)
def test_a_change_of_metadata_alone_is_not_sent(provider: str) -> None:
    """The reason why a nudge is no annotation: the rule above, held against what a nudge once was."""
    before = rendered(provider, 0)
    annotated = {**before, "metadata": {**before["metadata"], "annotations": {api.REFETCH_ANNOTATION: "1"}}}
    assert not istiod_sends(before, annotated)


@pytest.mark.parametrize("provider", RELEASES)
@pytest.mark.parametrize("nudge", [1, 2, 7])
def test_a_nudge_is_no_revision_and_nothing_to_load(provider: str, nudge: int) -> None:
    """The revision stays, the image is pulled no more often, and no gateway is asked for a new proof."""
    release, plain, nudged = RELEASES[provider], rendered(provider, 0), rendered(provider, nudge)
    assert nudged["metadata"]["annotations"][api.REVISION_ANNOTATION] == revision.compute_identity(
        release.spec, ARTIFACT.digest
    )
    assert api.REFETCH_ANNOTATION not in plain["metadata"]["annotations"]
    assert nudged["metadata"]["annotations"][api.REFETCH_ANNOTATION] == str(nudge)
    assert nudged["spec"].pop("imagePullPolicy") in ("IfNotPresent", "UNSPECIFIED_POLICY")
    assert nudged["spec"] == {key: value for key, value in plain["spec"].items() if key != "imagePullPolicy"}

    stored = {**plain, "metadata": {**plain["metadata"], "uid": "o"}}
    [write] = plan.draft(placements(release)[0], [(rendered(provider, nudge), stored)]).writes
    assert "pluginrelease.io/refetch" in write.why
    assert not write.reaches_gateways


@pytest.mark.parametrize(
    ("policy", "reaches", "reason"),
    [
        ("Always", True, "the agent would ask the registry at every push"),
        ("UNSPECIFIED_POLICY", False, "the same to an agent, as the image is named by its digest"),
    ],
)
def test_another_hand_s_pull_policy_is_put_back(policy: str, reaches: bool, reason: str) -> None:
    """Whatever stands there is written back; whether gateways load something because of it is another question."""
    stored = {**rendered("Istio", 0), "spec": {**rendered("Istio", 0)["spec"], "imagePullPolicy": policy}}
    stored["metadata"] = {**stored["metadata"], "uid": "o"}
    [write] = plan.draft(placements(RELEASES["Istio"])[0], [(rendered("Istio", 0), stored)]).writes
    assert (write.why, write.reaches_gateways) == ("spec.imagePullPolicy differs", reaches), reason
