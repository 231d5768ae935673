"""The operator's own image, from the unchanged Dockerfile on a substitute for its base."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pluginrelease import shipped
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.images import base, buildah
from pluginrelease_lab.node import archives

_BUILT = "localhost/pluginrelease-lab/operator"

Report = Callable[[str], None]


@dataclass(frozen=True)
class OperatorImage:
    """An image as an archive. ``size`` and ``own_size`` (without its base) are bytes before compression."""

    archive: Path
    size: int
    own_size: int


def build(name: str, archive: Path, report: Report) -> OperatorImage:
    """Build this checkout's image and write it to ``archive`` under ``name``. Raises LabError."""
    recipe = shipped.CHECKOUT / "Dockerfile"
    if not recipe.is_file():
        raise LabError("the operator's image is built from a checkout: there is no Dockerfile in an installed package")
    builder = buildah.in_cache()
    with builder.alone():
        standin = base.ensure(builder, report)
        report("building the operator's image from the Dockerfile …")
        builder.build(shipped.CHECKOUT, _BUILT, file=recipe, base=standin)
        builder.export(_BUILT, archive, name)
    below, *own = archives.layer_sizes(archive)
    return OperatorImage(archive, below + sum(own), sum(own))
