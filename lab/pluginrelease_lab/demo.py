"""The main job from start to end on real parts: what ``make demo`` runs.

Every step says what it does, shows what a user would look at, and fails the demo if it does not hold.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pluginrelease.core.wording import count_noun
from pluginrelease_lab import demo_higress, demo_istio, host
from pluginrelease_lab.demo_steps import DemoSteps


class Demo(Protocol):
    """The interface of a demo's module."""

    EXAMPLE: str
    TRY: str  # options of curl that show what the plugin does

    def play(self, steps: DemoSteps) -> None:
        """Run all steps after the operator's start, in order."""
        ...


DEMOS: dict[str, Demo] = {"istio": demo_istio, "higress": demo_higress}


def run(
    *, keep: bool, mesh: str = "istio", gateways: int = 2, name: str = "", report: Callable[[str], None] = print
) -> list[str]:
    """Run the whole demo; return what did not hold. With ``keep`` lab and operator keep running after a success."""
    started = time.monotonic()
    name = name or ("demo" if mesh == "istio" else f"demo-{mesh}")
    running = host.up(name, gateways=gateways, mesh=mesh, report=report, detached=keep)
    steps = DemoSteps(running, report)
    try:
        steps.start_operator(stays=keep)
        DEMOS[mesh].play(steps)
        steps.check_permissions()
    except BaseException:
        running.close()
        raise
    if not keep:
        running.close()
    outcome = "all of it happened" if not steps.failures else f"{count_noun(len(steps.failures), 'thing')} did not hold"
    report(f"\n{outcome}, in {time.monotonic() - started:.0f} s")
    if keep:
        report(how_to_talk(running, DEMOS[mesh]))
    return steps.failures


def how_to_talk(lab: host.Lab, demo: Demo) -> str:
    """Return what a user can do with the running lab."""
    pod = lab.gateway_pods()[0]
    return f"""
It goes on running. Talk to it:
  export KUBECONFIG={lab.kubeconfig}
  kubectl get prel -A -o wide
  kubectl describe prel -n {lab.gateway_namespace} {demo.EXAMPLE}
  curl -x {lab.proxy} http://{pod.address}:8080/ {demo.TRY}
  {Path(sys.argv[0]).name} push plugin.wasm {lab.registry_host}/plugins/mine:1.0 --insecure
      (in a PluginRelease: {lab.registry}/plugins/mine:1.0)
  tail -f {lab.log("operator")}
End it:
  pluginrelease lab down --name {lab.name}"""
