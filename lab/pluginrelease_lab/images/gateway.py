"""The image of a gateway as a pod: Istio's agent and Envoy, at the paths of Istio's own image."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from pluginrelease_lab import binaries
from pluginrelease_lab.images import base, buildah
from pluginrelease_lab.node.gateways import IMAGE

_BUILT = "localhost/pluginrelease-lab/gateway"
_TEMPLATE = "tools/packaging/common/envoy_bootstrap.json"
_RECIPE = """ARG PYTHON
FROM ${PYTHON}
COPY pilot-agent envoy /usr/local/bin/
COPY envoy_bootstrap.json /var/lib/istio/envoy/envoy_bootstrap_tmpl.json
USER 1337:1337
WORKDIR /
ENTRYPOINT ["/usr/local/bin/pilot-agent"]
"""

Report = Callable[[str], None]


def archive(report: Report) -> Path:
    """Return the image as an archive in the cache, and build it if it is missing. Raises LabError and `Refused`."""
    programs = binaries.ensure(["pilot-agent", "envoy"], report=report)
    builder = buildah.in_cache()
    file = builder.folder / f"gateway-{_pin(list(programs.values()))}.tar"
    with builder.alone():
        if not file.exists():
            report("building the image of a gateway …")
            _build(builder, programs, file, report)
    return file


def _pin(programs: list[Path]) -> str:
    """Return a name for the image's sources: other programs have other paths, or another time."""
    marks = [f"{program} {program.stat().st_size} {program.stat().st_mtime_ns}" for program in programs]
    return hashlib.sha256("\n".join([_RECIPE, base.REFERENCE, *marks]).encode()).hexdigest()[:8]


def _build(builder: buildah.Buildah, programs: dict[str, Path], file: Path, report: Report) -> None:
    with tempfile.TemporaryDirectory(prefix="pluginrelease-gateway-") as scratch:
        context = Path(scratch)
        for name, program in programs.items():
            shutil.copy2(program, context / name)
            (context / name).chmod(0o755)
        shutil.copy2(binaries.module_dir("istio", report=report) / _TEMPLATE, context / "envoy_bootstrap.json")
        (context / "Dockerfile").write_text(_RECIPE)
        builder.build(context, _BUILT, file=context / "Dockerfile", base=base.ensure(builder, report))
        unfinished = builder.export(_BUILT, file.with_suffix(".unfinished"), IMAGE)
        unfinished.replace(file)
