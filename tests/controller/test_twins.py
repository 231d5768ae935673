"""A second object with the same plugin: no first write beside it, and a warning where it comes later."""

from __future__ import annotations

from typing import Any

import pytest

from pluginrelease.api import ConditionType
from pluginrelease.controller import looking
from pluginrelease.controller.actions import roll_out
from pluginrelease.controller.actions.find_twins import refuse_twin
from pluginrelease.controller.steps import Each
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.mesh import istio
from pluginrelease.core.status.settlement import Ending
from tests.controller import scripted_steps
from tests.controller.entries import JSON, LABELS, PUBLIC, carrier, ran, revision_of, settle, two
from tests.controller.scripted_api import ScriptedAPI


@pytest.fixture
def pods(monkeypatch: pytest.MonkeyPatch) -> list[PodRef]:
    """The pods that any selector finds."""
    there = [PodRef("istio-ingress", "gateway-1", "uid-1", ready=True)]

    async def list_pods(*_: Any, **__: Any) -> list[PodRef]:
        return there

    monkeypatch.setattr(looking, "list_pods", list_pods)
    return there


def old(**spec: Any) -> JSON:
    """A WasmPlugin of the same repository that nobody's release made."""
    return {
        "apiVersion": istio.TARGET.api_version,
        "kind": "WasmPlugin",
        "metadata": {"name": "old", "namespace": "istio-ingress", "uid": "old"},
        "spec": {"selector": {"matchLabels": LABELS}, "url": "oci://registry.example.com/plugins/auth:1.0", **spec},
    }


def applied(ending: Ending) -> tuple[str, str]:
    return next((found.status, found.reason) for found in ending.status.conditions if found.type == "Applied")


async def test_a_first_write_does_not_double_a_plugin(
    shows: dict[str, str], pods: list[PodRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests run it once, and would run it twice: nothing is written, and the message says what to do."""
    check = Each(ConditionType.APPLIED, refuse_twin)
    assert check in roll_out.CHECKS
    scripted_steps.check_by(monkeypatch, check)
    body = two(PUBLIC)
    cluster = ScriptedAPI(body, old())
    ending = await settle(cluster, body)
    assert "APPLY wasmplugins" not in cluster.requests
    assert (ending.status.phase, ending.status.gateways[0].reason) == ("Refused", "DuplicatePlugin")
    assert "WasmPlugin istio-ingress/old" in ending.status.gateways[0].message


@pytest.mark.parametrize("spec", [{"pluginConfig": {"other": True}}, {"phase": "STATS"}], ids=str)
async def test_another_use_of_it_is_written_and_reported(shows: dict[str, str], pods: list[PodRef], spec: JSON) -> None:
    """It may be meant so: it goes on, with a warning in Applied and beside Ready, and one Event."""
    body = two(PUBLIC)
    ending = await settle(ScriptedAPI(body, old(**spec)), body)
    assert ending.status.phase == "Ready"
    assert applied(ending) == ("True", "DuplicatePlugin")
    ready = next(found for found in ending.status.conditions if found.type == "Ready")
    assert "Warning: " in ready.message
    assert ("Warning", "DuplicatePlugin") in [(event.type, event.reason) for event in ending.events]


async def test_one_that_comes_after_ready_is_reported(shows: dict[str, str], pods: list[PodRef]) -> None:
    """Nobody knows which of the two is meant: both stay, and the release says so until one goes."""
    body = ran(two(PUBLIC), {PUBLIC: revision_of(two(PUBLIC))})
    cluster = ScriptedAPI(body, carrier(two(PUBLIC), PUBLIC), old())
    ending = await settle(cluster, body)
    assert (ending.status.phase, applied(ending)) == ("Ready", ("True", "DuplicatePlugin"))
    assert not [asked for asked in cluster.writes() if asked.endswith("wasmplugins")]


async def test_one_without_a_pod_in_common_is_nothing(shows: dict[str, str], pods: list[PodRef]) -> None:
    """Two selectors that no pod has both of meet nowhere."""
    pods.clear()
    body = two(PUBLIC)
    ending = await settle(ScriptedAPI(body, old()), body)
    assert (ending.status.phase, applied(ending)) == ("Ready", ("True", "Applied"))
