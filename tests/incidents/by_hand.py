"""A plugin that a team has by hand, with its image's checksum, and an update of its image."""

from __future__ import annotations

from dataclasses import replace

from pluginrelease.core.artifact import packing
from pluginrelease.core.mesh import istio
from tests import wasm_modules
from tests.incidents.plugins import NAME, IncidentPlugin, wasm_plugin
from tests.incidents.run import IncidentRun


def begin(run: IncidentRun) -> IncidentPlugin:
    """It runs, and requests are counted; from here on the clock runs."""
    module = wasm_modules.answering("v1")
    old = IncidentPlugin(run.push(module), sha256=packing.pack(module).digest.hex)
    run.apply(wasm_plugin(old, NAME, *run.places(old)))
    run.plugin = old
    run.await_served("v1")
    run.count()
    run.begin()
    return old


def update(run: IncidentRun, old: IncidentPlugin, **annotations: str) -> None:
    """Update it to v2, by a patch of the image alone, or by a release with these annotations that adopts the object."""
    new = replace(old, image=run.push(wasm_modules.answering("v2")), sha256=None)
    if run.is_bare:
        patch = f'{{"spec": {{"url": "oci://{new.image}"}}}}'
        run.lab.kubectl("patch", istio.TARGET.plural, NAME, "-n", run.namespace, "--type=merge", "-p", patch)
        return
    [release] = run.manifests(new)
    release["spec"]["gateways"][0]["adopt"] = True
    release["metadata"]["annotations"] = annotations
    run.apply(release)
