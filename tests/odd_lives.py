"""Modules that are odd only in the life of a gateway: when they are configured again, replaced, or fill a memory."""

from __future__ import annotations

from tests.odd_drafts import callback, const, plugin
from tests.wasm_modules import leb

PAGE_BYTES = 1 << 16


def looping_when_done() -> bytes:
    """Its proxy_on_done never ends for the plugin itself, whose context is the first, and ends for a request's."""
    is_the_plugins = b"\x20\0" + const(1) + b"\x46"
    loop = b"\x03\x40\x0c\0\x0b"
    return callback("proxy_on_done", is_the_plugins + b"\x04\x40" + loop + b"\x0b" + const(1), "i", "i")


def filling(size: int) -> bytes:
    """Its _initialize fills so many bytes of a memory that has room for them."""
    pages = -(-size // PAGE_BYTES)
    fill = const(0, 1, size) + b"\xfc\x0b\0"
    return plugin(lambda draft: draft.callback("_initialize", fill), memory=b"\0" + leb(pages))
