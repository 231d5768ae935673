"""Modules that are odd in the life of a gateway: when they are configured, once and again, replaced, or fill memory."""

from __future__ import annotations

from tests.odd_drafts import Draft, callback, const, plugin
from tests.wasm_modules import composed, constant, leb, name

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


def refusing_memory() -> bytes:
    """It asks for a property while it is configured, and traps where Envoy wants memory for the answer."""
    path = b"plugin_name"

    def add(draft: Draft) -> None:
        draft.data.append(b"\0" + const(16) + b"\x0b" + name(path))
        ask = const(16, len(path), 32, 36) + b"\x10\0\x1a"
        draft.callback("proxy_on_configure", ask + const(1), "ii", "i")
        draft.callback("proxy_on_memory_allocate", b"\0", "i", "i")

    return plugin(add, needs=[("env.proxy_get_property", "iiii", "i")], allocator=False)


def streaming_to_nobody() -> bytes:
    """It opens a gRPC stream to an empty service while it is configured."""
    stream = ("env.proxy_grpc_stream", "i" * 9, "i")
    return callback("proxy_on_configure", const(*[0] * 9) + b"\x10\0\x1a" + const(1), "ii", "i", [stream])


def calling(cluster: str) -> bytes:
    """Its proxy_on_configure sends a GET to a cluster, and returns whether Envoy accepts the call."""
    pairs = [(b":method", b"GET"), (b":path", b"/"), (b":authority", cluster.encode())]
    sizes = b"".join(len(text).to_bytes(4, "little") for pair in pairs for text in pair)
    texts = b"".join(text + b"\0" for pair in pairs for text in pair)
    headers = len(pairs).to_bytes(4, "little") + sizes + texts
    where = len(cluster.encode())
    numbers = [0, where, where, len(headers), 0, 0, 0, 0, 1000, 1024]  # the call's token goes to 1024
    call = b"".join(map(constant, numbers)) + b"\x10\0\x45"  # i32.eqz: 0 is Ok
    return composed(
        [("env", "proxy_http_call", 10, 1)],
        [
            ("proxy_abi_version_0_2_1", 0, 0, b""),
            ("proxy_on_memory_allocate", 1, 1, b"\x41\0"),
            ("proxy_on_configure", 2, 1, call),
        ],
        data=cluster.encode() + headers,
    )
