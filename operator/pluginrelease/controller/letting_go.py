"""Delete an object of a release, or leave it without an owner."""

from __future__ import annotations

from typing import Any

import structlog

from pluginrelease.controller.writer import Writer

JSON = dict[str, Any]

log = structlog.get_logger(__name__)


async def let_go(writer: Writer, gate: str | None, observed: JSON, *, leaves: bool) -> None:
    """Delete one object, or leave it without an owner. ``gate``: the release's uid, None for its clean-up."""
    own = observed["metadata"]
    title = f"{observed['kind']} {own['namespace']}/{own['name']}"
    if leaves:
        await writer.disown(gate, observed)
        log.info("kept, because of deletionPolicy", object=title)
        return
    await writer.delete(gate, observed)
    log.info("deleted", object=title)
