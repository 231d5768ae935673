"""The guides' plugin on an installation of Higress: released, reconfigured, and then for one domain only."""

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
    """All steps after the operator's start, in order."""
    release_plugin(steps)
    mock_everything(steps)
    mock_one_domain(steps)


def release_plugin(steps: DemoSteps) -> None:
    """Source → module for Higress → a copy that the lab's gateways load → image → PluginRelease → Ready."""
    steps.title(f"Build examples/{EXAMPLE}, adapt it, and push it")
    image = f"plugins/{EXAMPLE}:1.0"
    steps.push(adapted(steps, steps.build(EXAMPLE)), image)
    steps.title("kubectl apply the PluginRelease, and watch it")
    steps.apply(EXAMPLE, EXAMPLE, image, config={"mockEnable": False})
    steps.expect_ready(EXAMPLE)
    steps.show(EXAMPLE)
    ask(steps, {MOCKED: marks, OTHER: marks})


def adapted(steps: DemoSteps, module: bytes) -> bytes:
    """What is pushed here in place of what Higress takes, said aloud."""
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
    """By a change of the PluginRelease, and of nothing else."""
    steps.title("Set mockEnable to true")
    steps.change(EXAMPLE, config={"mockEnable": True})
    steps.expect_ready(EXAMPLE)
    ask(steps, {MOCKED: mocks, OTHER: mocks})


def mock_one_domain(steps: DemoSteps) -> None:
    """One rule, beside a default that leaves the others alone."""
    steps.title("Set it for one domain only")
    rule = {"domain": [MOCKED], "config": {"mockEnable": True}}
    steps.change(EXAMPLE, config={"mockEnable": False}, matchRules=[rule])
    steps.expect_ready(EXAMPLE)
    ask(steps, {MOCKED: mocks, OTHER: marks})


def ask(steps: DemoSteps, wanted: dict[str, Callable[[HTTPAnswer], bool]]) -> None:
    """A request for each host to every gateway pod, and what must be true of the answers."""
    for named, holds in wanted.items():
        for pod, answer in steps.ask({"Host": named}):
            asked = f"-H 'Host: {named}'"
            steps.report(f"  {pod.name}  {asked:27} → {answer.status} {told(answer)}")
            steps.expect(holds(answer), f"{pod.name} {holds.__name__} a request for {named}")


def marks(answer: HTTPAnswer) -> bool:
    """The upstream answered, and it saw the plugin's header."""
    return answer.status == 200 and seen_upstream(answer).get("hello") == "world"


def mocks(answer: HTTPAnswer) -> bool:
    """The plugin answered."""
    return answer.status == 200 and answer.body.decode() == MOCK


def told(answer: HTTPAnswer) -> str:
    """For people."""
    if marker := seen_upstream(answer).get("hello"):
        return f"the upstream saw hello: {marker}"
    return "the upstream saw no such header" if seen_upstream(answer) else repr(answer.body.decode()[:80])


def seen_upstream(answer: HTTPAnswer) -> dict[str, str]:
    """The headers that the lab's upstream answers with; none where it was not asked."""
    try:
        return dict(json.loads(answer.body)["headers"])
    except ValueError:
        return {}
