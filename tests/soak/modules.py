"""An AUTHN plugin in some hundred bytes: it lets requests with ``allow: true`` through and answers others itself."""

from __future__ import annotations

from tests.wasm_modules import composed

REQUEST_HEADERS, RESPONSE_HEADERS = 0, 2
CONTINUE, PAUSE = 0, 1
FORBIDDEN = 403
VALUE_AT, LENGTH_AT, ANSWER_AT = 64, 68, 128
TRUE = int.from_bytes(b"true", "little")
BODY = "not allowed"


def guarding(version: str) -> bytes:
    """The plugin's own 403 without the header ``allow: true``; each answer carries ``x-plugin: version``."""
    texts = _Texts()
    key, name, value, body = (texts.place(text) for text in ("allow", "x-plugin", version, BODY))
    asks = _store(LENGTH_AT, 0) + _call(0, REQUEST_HEADERS, *key, VALUE_AT, LENGTH_AT)
    allowed = _equal(LENGTH_AT, len("true")) + b"\x04\x40" + _equal(ANSWER_AT, TRUE) + b"\x04\x40"
    passes = _number(CONTINUE) + b"\x0f\x0b\x0b"
    refuses = _call(1, FORBIDDEN, 0, 0, *body, 0, 0, -1) + _number(PAUSE)
    marks = _call(2, RESPONSE_HEADERS, *name, *value) + _number(CONTINUE)
    return composed(
        [
            ("env", "proxy_get_header_map_value", 5, 1),
            ("env", "proxy_send_local_response", 8, 1),
            ("env", "proxy_add_header_map_value", 5, 1),
        ],
        [
            ("proxy_abi_version_0_2_0", 0, 0, b""),
            ("proxy_on_memory_allocate", 1, 1, _number(ANSWER_AT)),
            ("proxy_on_request_headers", 3, 1, asks + allowed + passes + refuses),
            ("proxy_on_response_headers", 3, 1, marks),
        ],
        data=texts.data,
    )


class _Texts:
    """Texts one behind the other in the module's memory."""

    def __init__(self) -> None:
        self.data = b""

    def place(self, text: str) -> tuple[int, int]:
        """(address, length)."""
        at = len(self.data)
        self.data += text.encode()
        return at, len(text)


def _call(function: int, *numbers: int) -> bytes:
    """A call of an import; its result is dropped."""
    return b"".join(map(_number, numbers)) + bytes([0x10, function, 0x1A])


def _store(address: int, number: int) -> bytes:
    return _number(address) + _number(number) + b"\x36\x02\0"


def _equal(address: int, number: int) -> bytes:
    """Whether the number in memory is this one."""
    return _number(address) + b"\x28\x02\0" + _number(number) + b"\x46"


def _number(number: int) -> bytes:
    """i32.const with a signed LEB128."""
    out = bytearray([0x41])
    while not -64 <= number < 64:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number & 0x7F])
