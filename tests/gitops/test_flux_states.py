"""Every state of docs/states.md through Flux: what a Kustomization with ``wait: true`` says of a release in that state.

No operator runs: the statuses are those that it would have written, put there by the API server.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from pluginrelease import api
from pluginrelease_lab import Lab, flux
from tests import states
from tests.gitops.conftest import Git
from tests.harness import columns
from tests.states import STATES, State

JSON = dict[str, Any]

PROGRAMS = flux.PROGRAMS
NAMESPACE, REPOSITORY = "gitops-states", "states"
RESOURCE = "kustomizations.kustomize.toolkit.fluxcd.io"
TIMEOUT = "30s"  # Flux takes no shorter one
WITHIN = 240.0
READY, AT_ONCE, WAITS = "Ready", "fails at once", "waits"
ANSWERS = {states.CURRENT: READY, states.FAILED: AT_ONCE}
HOLD = "example.com/hold"
FREE = json.dumps({"metadata": {"finalizers": None}})

pytestmark = pytest.mark.timeout(500)


def named(state: State) -> str:
    """Return the name of the object, of its folder and of its Kustomization."""
    return f"state-{STATES.index(state):02}"


def find(name: str) -> State:
    """Return the first row of a state."""
    return next(state for state in STATES if state.name == name)


def manifest(state: State, name: str, **spec: Any) -> JSON:
    """Return what is in Git of a state's object."""
    made = {key: copy.deepcopy(state.found[key]) for key in ("apiVersion", "kind", "spec")}
    return {**made, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {**made["spec"], **spec}}


def put(lab: Lab, objects: dict[str, State]) -> None:
    """Have the API server store an object of each name, with the status of its state."""
    wanted = [manifest(state, name) for name, state in objects.items()]
    for thing, state in zip(wanted, objects.values(), strict=True):
        if state.name == "Deleting":
            thing["metadata"]["finalizers"] = [HOLD]
    apply(lab, wanted)
    say(lab, objects)


def say(lab: Lab, objects: dict[str, State]) -> None:
    """Have the API server store the statuses of these states on objects that are there."""
    known = {"apiVersion": api.API_VERSION, "kind": api.KIND}
    told = [
        {**known, "metadata": {"name": name, "namespace": NAMESPACE}, "status": state.found["status"]}
        for name, state in objects.items()
    ]
    apply(lab, told, "--subresource=status")


def apply(lab: Lab, objects: list[JSON], *more: str) -> None:
    """Apply as another client than Flux."""
    text = "\n---\n".join(map(json.dumps, objects))
    own = ["--server-side", "--force-conflicts", "--field-manager=test", *more]
    lab.kubectl("apply", *own, "-f", "-", stdin=text, timeout=120)


# what else a Kustomization may have: several releases, and a spec that the operator has not seen yet
SEVERAL = {
    "all-run": (("Loaded", "Coming up"), READY),
    "one-failed": (("Loaded", "Refused"), AT_ONCE),
    "one-waits": (("Loaded", "Waiting"), WAITS),
    "one-failed-one-waits": (("Waiting", "Rolled back"), AT_ONCE),
}


@pytest.fixture(scope="module")
def answered(with_kinds: Lab, with_flux: Lab, git: Git) -> Iterator[dict[str, str]]:
    """What Flux said, by the name of the Kustomization."""
    lab = with_flux
    lab.kubectl("create", "namespace", NAMESPACE)
    folders: dict[str, list[JSON]] = {named(state): [manifest(state, named(state))] for state in STATES}
    objects = {named(state): state for state in STATES}
    for folder, (kinds, _) in SEVERAL.items():
        several = {f"{folder}-{number}": find(kind) for number, kind in enumerate(kinds)}
        folders[folder] = [manifest(state, name) for name, state in several.items()]
        objects |= several
    objects["unseen"] = find("Loaded")
    folders["unseen"] = [manifest(find("Loaded"), "unseen", plugin={"phase": "AUTHN"})]
    put(lab, objects)
    lab.kubectl("delete", api.PLURAL, named(find("Deleting")), "-n", NAMESPACE, "--wait=false")
    git.commit(REPOSITORY, {f"{name}/releases.yaml": yaml.safe_dump_all(them) for name, them in folders.items()}, "All")
    apply(lab, [flux.git_repository(REPOSITORY)])
    source = f"gitrepositories.source.toolkit.fluxcd.io/{REPOSITORY}"
    lab.kubectl("wait", source, "-n", flux.NAMESPACE, "--for=condition=Ready", "--timeout=60s", timeout=90)
    more: JSON = {"timeout": TIMEOUT, "retryInterval": "1h", "prune": False}
    apply(lab, [flux.kustomization(name, REPOSITORY, f"./{name}", **more) for name in folders])
    yield await_all(lab, set(folders))
    lab.kubectl("delete", RESOURCE, "--all", "-n", flux.NAMESPACE, timeout=120)
    lab.kubectl("patch", api.PLURAL, named(find("Deleting")), "-n", NAMESPACE, "--type=merge", "-p", FREE)
    lab.kubectl("delete", api.PLURAL, "--all", "-n", NAMESPACE, timeout=120)
    lab.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def await_all(lab: Lab, names: set[str]) -> dict[str, str]:
    """Return what became of each Kustomization, once Flux has an answer for all of them."""
    deadline = time.monotonic() + WITHIN
    while True:
        found = json.loads(lab.kubectl("get", RESOURCE, "-n", flux.NAMESPACE, "-o", "json"))["items"]
        answers = {one["metadata"]["name"]: answer(one) for one in found}
        if all(answers.get(name) for name in names):
            return answers
        assert time.monotonic() < deadline, {name: text for name, text in answers.items() if not text}
        time.sleep(1)


def answer(found: JSON) -> str:
    """Return what a Kustomization says of what it applied; nothing while it waits."""
    conditions = found.get("status", {}).get("conditions", [])
    ready = next((condition for condition in conditions if condition["type"] == "Ready"), None)
    if ready is None or ready["status"] == "Unknown":
        return ""
    if ready["status"] == "True":
        return READY
    if ready["reason"] != "HealthCheckFailed":
        return f"{ready['reason']}: {ready['message']}"
    return AT_ONCE if "failed early" in ready["message"] else WAITS


@pytest.mark.parametrize("state", STATES, ids=columns.name)
def test_flux_agrees_with_kstatus(state: State, answered: dict[str, str]) -> None:
    """Flux fails at once where a user must act, and is Ready only where the spec's plugin runs; else it waits."""
    assert answered[named(state)] == ANSWERS.get(state.kstatus, WAITS)


def test_the_page_has_what_flux_said(answered: dict[str, str]) -> None:
    """The column of docs/states.md is what Flux said of each state."""
    assert columns.compare("Flux", {columns.name(state): answered[named(state)] for state in STATES}) == []


@pytest.mark.parametrize("folder", SEVERAL)
def test_one_failed_release_fails_its_kustomization(folder: str, answered: dict[str, str]) -> None:
    """With several releases, one that failed ends the wait at once, also while another one is waited for."""
    assert answered[folder] == SEVERAL[folder][1]


def test_a_commit_that_no_operator_sees_is_not_ready(answered: dict[str, str]) -> None:
    """While the operator is down, Flux waits for its timeout, and does not take the old status for the new spec."""
    assert answered["unseen"] == WAITS


def test_a_release_that_turns_unhealthy_fails_the_next_reconcile(answered: dict[str, str], with_flux: Lab) -> None:
    """A Kustomization that was Ready is not Ready any more when it looks again, and does not wait to say so."""
    name = named(find("Loaded"))
    assert answered[name] == READY
    say(with_flux, {name: find("Unhealthy")})
    now = f"reconcile.fluxcd.io/requestedAt={time.time()}"
    with_flux.kubectl("annotate", "--overwrite", RESOURCE, name, "-n", flux.NAMESPACE, now)
    for found in with_flux.watch(
        RESOURCE, "-n", flux.NAMESPACE, f"--field-selector=metadata.name={name}", seconds=60.0
    ):
        if answer(found) not in ("", READY):
            assert answer(found) == AT_ONCE
            return
    raise AssertionError("Flux did not look again")
