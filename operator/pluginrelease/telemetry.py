"""Logs: one line per event, as JSON or for people, in the same form for kopf's own lines."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

# kopf.objects logs every successful handler; the pass logs what it did
SILENCED = ("aiohttp.access", "asyncio", "urllib3", "oras", "kopf.objects")


def configure(log_format: str, level: str) -> None:
    """Log to standard error. ``log_format``: json or text. ``level``: a name such as info."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(log_format, shared))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in SILENCED:
        logging.getLogger(name).setLevel(logging.WARNING)


def formatter(log_format: str, shared: list[Any]) -> logging.Formatter:
    """Return the formatter for our own events and the records of kopf and other libraries."""
    rendering: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    if log_format == "text":
        # a plain traceback, because one with local variables could show secrets
        plain = structlog.dev.plain_traceback
        rendering = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, object_of],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )


def object_of(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the object that a line of kopf is about. kopf's other extras hold settings and are omitted."""
    reference = getattr(event.get("_record"), "k8s_ref", None)
    if reference:
        event["object"] = f"{reference.get('namespace', '')}/{reference.get('name', '')}"
    return event
