"""Lines of a gateway's log as Istio prints them, and what is read of them."""

from __future__ import annotations

from datetime import datetime

from pluginrelease.core.gateway import logs
from pluginrelease.core.gateway.logs import LogFindings
from tests.core.recorded_gateway import BEGINNING, wanted


def line(second: int, message: str, *, thread: int = 15, scope: str = "envoy wasm", level: str = "error") -> str:
    caller = "external/envoy/source/extensions/common/wasm/wasm.cc:104"
    return f"2026-11-20T20:54:{second:02}.540001Z\t{level}\t{scope} {caller}\t{message}\tthread={thread}"


def read(*lines: str, since: datetime = BEGINNING) -> LogFindings:
    return logs.read_log("\n".join(lines).splitlines(), wanted(), since)


REFUSED = "gRPC config for type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig rejected: "
MISSING = "Failed to load Wasm module due to a missing import: wasi_snapshot_preview1.path_filestat_get"
NOT_ON_THREAD = "Wasm VM failed Failed to configure thread-local Wasm plugin"


def created(second: int, name: str) -> list[str]:
    """What Envoy 1.40 logs when its workers refuse a new configuration of the code that they run."""
    return [
        line(second, f"Updated filter config {name} accepted, posting to workers", scope="envoy filter"),
        line(second, NOT_ON_THREAD),
        line(second, f"Updated filter config {name} created, warming done", scope="envoy filter"),
        line(second, NOT_ON_THREAD, thread=16),
        line(second, f"Filter config {name} worker update complete", scope="envoy filter"),
    ]


REFUSAL = f"{REFUSED}Unable to create Wasm plugin apps.header"


TRAP = "Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable"
OUR_NAME = "apps.header~istio-translated-wasmplugin"


def spoken(second: int, *texts: str, plugin: str = OUR_NAME, thread: int = 15) -> list[str]:
    return [line(second, f"wasm log {plugin}: {text}", thread=thread) for text in texts]
