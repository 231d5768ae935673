"""A process that pulls what it is told, a line at a time, and tells what it was told and what it cost.

Memory is measured where nothing else uses it. In: the fields of an order. Out: those of an outcome. The log, at debug
level and in the operator's own form, goes to standard error.
"""

from __future__ import annotations

import gc
import json
import re
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from pluginrelease import telemetry
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import ReleaseError
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.oci.blobs import Blobs


@dataclass(frozen=True)
class PullOrder:
    """``secret`` is a .dockerconfigjson, empty for none; ``cache`` a folder, empty for none; ``tags``: they alone."""

    reference: str
    secret: str = ""
    cache: str = ""
    deadline: float = 20.0
    private: bool = False
    tags: bool = False


@dataclass(frozen=True)
class PullOutcome:
    """``reason`` empty: it was pulled. ``more``: bytes of memory at the peak beyond those before. Times in seconds,
    ``processor`` being what the processors worked for it."""

    reason: str
    kind: str
    text: str
    more: int
    seconds: float
    processor: float


def memory(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found.group(1)) * 1024


def follow(order: PullOrder) -> PullOutcome:
    access = Access(
        insecure=True,
        dockerconfigjson=order.secret.encode() or None,
        deadline_seconds=order.deadline,
        allow_private_realms=order.private,
    )
    kept = Blobs(Path(order.cache), 1024**3) if order.cache else None
    reason = kind = text = ""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before, began, worked = memory("VmRSS"), time.monotonic(), time.process_time()
    try:
        if order.tags:
            registry.list_tags(image_manifests.parse_repository(order.reference), access)
        else:
            registry.fetch(image_manifests.parse(order.reference), access, kept)
    except ReleaseError as error:
        reason, kind = error.reason, type(error).__name__
        text = error.sentence() + "\n" + "".join(traceback.format_exception(error))
        structlog.get_logger(__name__).warning("not pulled", access=access, exc_info=error)
    more, seconds, processor = memory("VmHWM") - before, time.monotonic() - began, time.process_time() - worked
    return PullOutcome(reason, kind, text, more, seconds, processor)


def main() -> None:
    telemetry.configure("json", "debug")
    for line in sys.stdin:
        print(json.dumps(asdict(follow(PullOrder(**json.loads(line))))), flush=True)


if __name__ == "__main__":
    main()
