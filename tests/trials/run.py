"""Trials of modules on real Envoys, without a lab."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.trial import control, layout
from pluginrelease.core.trial.gateway_facts import GatewayFacts
from pluginrelease.core.trial.layout import TrialPlace, Upstream
from pluginrelease.core.trial.plan import TrialPlan
from pluginrelease.core.trial.result import TrialResult
from pluginrelease.core.trial.revisions import TrialRevision
from pluginrelease.edges.trial import driver, echo
from pluginrelease_lab import binaries

HANG_SECONDS = 6.0  # these modules load in a tenth of a second
NAME = "apps.plugin"


def revision(
    wasm: bytes, config: Mapping[str, Any] | None = None, fail: str = "FAIL_CLOSE", **more: Any
) -> TrialRevision:
    """A revision of these bytes under one name, as two revisions of one release have it."""
    wanted = DesiredPlugin("apps", "plugin", hashlib.sha256(wasm).hexdigest(), config, fail)
    return TrialRevision(wanted, f"extensions.istio.io/wasmplugin/{NAME}", NAME, size=len(wasm), **more)


@dataclass(frozen=True)
class Prepared:
    """A trial whose files are written."""

    folder: Path
    plan: TrialPlan


def prepare(
    folder: Path,
    echo_port: int,
    wasm: bytes,
    config: Mapping[str, Any] | None = None,
    *,
    stable: bytes | None = None,
    stable_config: Mapping[str, Any] | None = None,
    stubs: tuple[str, ...] = (),
    fail: str = "FAIL_CLOSE",
    more: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Prepared:
    """Write the files of a module's trial, over another one if there is one. ``more`` is about the revision,
    ``settings`` are of the plan."""
    new = revision(wasm, config, fail, **(more or {}))
    old = None if stable is None else revision(stable, stable_config, fail)
    plan = TrialPlan(
        **{"revision": new, "stable": old, "hang_seconds": HANG_SECONDS, "echo_port": echo_port, **settings}
    )
    upstream = Upstream("127.0.0.1", echo_port)
    facts = GatewayFacts(concurrency=plan.concurrency)
    place = TrialPlace(str(folder), upstream, upstream, stubs=stubs, facts=facts)
    modules = {new.module_file: wasm, control.make().module_file: control.CONTENT}
    if old is not None and stable is not None:
        modules[old.module_file] = stable
    files = {**layout.render_files(place, new, old), layout.PLAN: plan.as_json()}
    driver.write_files(folder, files, modules)
    return Prepared(folder, plan)


def run(
    folder: Path,
    wasm: bytes,
    config: Mapping[str, Any] | None = None,
    *,
    program: Path | None = None,
    **settings: Any,
) -> TrialResult:
    """The whole trial of a module. ``settings`` are those of `prepare`."""

    async def do() -> TrialResult:
        with echo.serve() as port:
            plan = prepare(folder, port, wasm, config, **settings).plan
            async with driver.begin(program or binaries.provide("envoy"), folder, plan) as trial:
                return await trial.run()

    return asyncio.run(do())
