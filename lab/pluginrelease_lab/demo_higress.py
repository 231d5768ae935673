"""The guides' plugin on a Higress installation: released, reconfigured, and then for one domain only."""

from __future__ import annotations

import json
from collections.abc import Callable

from pluginrelease.core.compat import abi_rewrite
from pluginrelease_lab.demo_steps import DemoSteps
from pluginrelease_lab.host import HTTPAnswer

EXAMPLE = "my-plugin"
MOCKED, OTHER = "mock.example.com", "www.example.com"
MOCK = "hello world"
TRY = f"-H 'Host: {MOCKED}'"


def play(steps: DemoSteps) -> None:
    """Run all steps after the operator's start, in order."""
    release_plugin(steps)
    mock_everything(steps)
    mock_one_domain(steps)


def release_plugin(steps: DemoSteps) -> None:
    """Build the module for Higress, adapt a copy for the lab's gateways, push it, and release it until Ready."""
    steps.title(f"Build examples/{EXAMPLE}, adapt it, and push it")
    image = f"plugins/{EXAMPLE}:1.0"
    steps.push(adapted(steps, steps.build(EXAMPLE)), image)
    steps.title("kubectl apply the PluginRelease, and watch it")
    steps.apply(EXAMPLE, EXAMPLE, image, config={"mockEnable": False})
    steps.expect_ready(EXAMPLE)
    steps.show(EXAMPLE)
    ask(steps, {MOCKED: marks, OTHER: marks})


def adapted(steps: DemoSteps, module: bytes) -> bytes:
    """Return the module that is pushed here instead of Higress's, and say so."""
    copy = abi_rewrite.adapt(module)
    steps.report(
        "  It announces Higress's own ABI, 0.2.100, and this lab's gateways are stock Envoys, which do not know it."
    )
    steps.report(
        "  So a copy is pushed, as `pluginrelease adapt` makes it; for Higress one pushes what was built. On a copy:"
    )
    for difference in copy.differences:
        steps.report(f"  - {difference}")
    return copy.content


def mock_everything(steps: DemoSteps) -> None:
    """Change only the PluginRelease."""
    steps.title("Set mockEnable to true")
    steps.change(EXAMPLE, config={"mockEnable": True})
    steps.expect_ready(EXAMPLE)
    ask(steps, {MOCKED: mocks, OTHER: mocks})


def mock_one_domain(steps: DemoSteps) -> None:
    """Add one rule, with a default that does not affect the other domains."""
    steps.title("Set it for one domain only")
    rule = {"domain": [MOCKED], "config": {"mockEnable": True}}
    steps.change(EXAMPLE, config={"mockEnable": False}, matchRules=[rule])
    steps.expect_ready(EXAMPLE)
    ask(steps, {MOCKED: mocks, OTHER: marks})


def ask(steps: DemoSteps, wanted: dict[str, Callable[[HTTPAnswer], bool]]) -> None:
    """Send a request for each host to every gateway pod, and check the answers."""
    for named, holds in wanted.items():
        for pod, answer in steps.ask({"Host": named}):
            asked = f"-H 'Host: {named}'"
            steps.report(f"  {pod.name}  {asked:27} → {answer.status} {told(answer)}")
            steps.expect(holds(answer), f"{pod.name} {holds.__name__} a request for {named}")


def marks(answer: HTTPAnswer) -> bool:
    """Return whether the upstream answered and received the plugin's header."""
    return answer.status == 200 and seen_upstream(answer).get("hello") == "world"


def mocks(answer: HTTPAnswer) -> bool:
    """Return whether the plugin answered."""
    return answer.status == 200 and answer.body.decode() == MOCK


def told(answer: HTTPAnswer) -> str:
    """Return the answer for people."""
    if marker := seen_upstream(answer).get("hello"):
        return f"the upstream saw hello: {marker}"
    return "the upstream saw no such header" if seen_upstream(answer) else repr(answer.body.decode()[:80])


def seen_upstream(answer: HTTPAnswer) -> dict[str, str]:
    """Return the headers that the lab's upstream received; none if it was not asked."""
    try:
        return dict(json.loads(answer.body)["headers"])
    except ValueError:
        return {}
