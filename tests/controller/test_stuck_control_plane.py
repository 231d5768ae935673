"""One object kept the control plane from sending anything: what is checked next is not put back for that."""

from __future__ import annotations

from typing import Any

import pytest

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller import looking
from pluginrelease.controller.reconcile import reconcile
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.gateway.verdict.values import PodVerdict, State, Verdict
from pluginrelease.core.rollout.facts import EntryView
from tests.controller.rolling import NEW, OLD, old, rolling_out, written
from tests.controller.scripted_api import ScriptedAPI, context

POD = PodRef("istio-ingress", "gateway", "pod", ready=True)


def verdict(state: State, reason: Reason) -> Verdict:
    return Verdict(state, reason, "", (PodVerdict(POD, state, reason, ""),))


LATE = verdict(State.UNHEALTHY, Reason.CONFIG_NOT_DELIVERED)
COMING = verdict(State.PENDING, Reason.AWAITING_CONFIG)
REJECTED = verdict(State.UNHEALTHY, Reason.PLUGIN_REJECTED)

CASES = [
    ("it was stuck until now, so that the time begins", "ControlPlaneStuck", LATE, NEW, True),
    ("it was not stuck, and the time is over", "AwaitingConfig", LATE, OLD, False),
    ("the gateway had received it by then, and refuses it", "ControlPlaneStuck", REJECTED, OLD, None),
]


@pytest.mark.parametrize(
    ("why", "reason_before", "shown", "carried", "noted"), CASES, ids=[case[0].replace(" ", "-") for case in CASES]
)
async def test_what_the_first_check_after_it_comes_to(
    monkeypatch: pytest.MonkeyPatch, why: str, reason_before: str, shown: Verdict, carried: str, noted: bool | None
) -> None:
    """Gateways that have received nothing have their whole time from then on; what they refuse is put back at once."""

    async def judge(work: Any, entry: EntryView, candidate: Any) -> tuple[tuple[()], Verdict]:
        return (), shown

    def weigh(work: Any, entry: EntryView, *_: Any) -> Verdict:
        return COMING if entry.observation.deliverable_since is not None else shown

    monkeypatch.setattr(looking, "judge", judge)
    monkeypatch.setattr(looking, "weigh", weigh)
    body = rolling_out()
    body["status"]["gateways"][0] |= {"state": "Unknown", "reason": reason_before}
    cluster = ScriptedAPI(body, written(body), old(body))
    ending = await reconcile(context(cluster), api.Release.model_validate(body), attempt=0)
    [plugin] = [thing for key, thing in cluster.objects.items() if key[0].plural == "wasmplugins"]
    assert plugin["metadata"]["annotations"][api.REVISION_ANNOTATION] == carried, why
    known = ending.status.observation("public")
    if noted is not None:
        assert known is not None
        assert (known.deliverable_since is not None) is noted, why
