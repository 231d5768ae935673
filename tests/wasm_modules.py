"""Small WebAssembly modules composed by code, and changes to real ones: what the tests feed in as good and bad bytes.

The layout is the binary format's own: https://webassembly.github.io/spec/core/binary/modules.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

HEADER = b"\0asm\x01\0\0\0"
TYPE, IMPORT, FUNCTION, MEMORY, EXPORT, CODE = 1, 2, 3, 5, 7, 10
KIND_FUNCTION, KIND_MEMORY = 0, 2
I32 = 0x7F
ABI_PREFIX = b"proxy_abi_version_"


def plugin(abi: str = "0_2_0", *, imports: Iterable[tuple[str, str]] = ()) -> bytes:
    """A valid module that announces ``abi`` and imports functions ``() -> i32`` by (module, name)."""
    wanted = list(imports)
    exports = [f"proxy_abi_version_{abi}", "proxy_on_memory_allocate", "_initialize"]
    return module(
        section(TYPE, vector([b"\x60\0\0", b"\x60\0\x01" + bytes([I32]), b"\x60\x01" + bytes([I32, 1, I32])])),
        section(IMPORT, vector(name(m) + name(n) + bytes([KIND_FUNCTION, 1]) for m, n in wanted)),
        section(FUNCTION, vector([b"\0", b"\x02", b"\0"])),
        section(MEMORY, vector([b"\0\x01"])),
        section(
            EXPORT,
            vector(
                [
                    *(name(e) + bytes([KIND_FUNCTION]) + leb(len(wanted) + i) for i, e in enumerate(exports)),
                    name("memory") + bytes([KIND_MEMORY, 0]),
                ]
            ),
        ),
        section(CODE, vector([body(b""), body(b"\x41\0"), body(b"")])),
    )


def unknown_abi() -> bytes:
    """A valid module whose only ABI version is one that no Envoy knows."""
    return plugin("9_9_9")


def without_abi() -> bytes:
    """A valid module that is no plugin: it exports a memory and nothing else."""
    return module(section(MEMORY, vector([b"\0\x01"])), section(EXPORT, vector([name("memory") + b"\x02\0"])))


def missing_import() -> bytes:
    """A known ABI, and an import that no gateway offers."""
    return plugin(imports=[("env", "proxy_not_of_this_world")])


def truncated() -> bytes:
    """The first two thirds of a module: the last section ends in the middle."""
    whole = plugin()
    return whole[: len(whole) * 2 // 3]


def text_file() -> bytes:
    """What ends up in an image when the build failed and its output was packed."""
    return b"go: cannot find main module, but found .git/config\n"


def empty_file() -> bytes:
    """No byte at all."""
    return b""


def component() -> bytes:
    """The header of a WebAssembly component, which is another format under the same magic."""
    return b"\0asm\x0d\0\x01\0"


def rename_abi(wasm: bytes, new: str) -> bytes:
    """The same module, announcing ``new`` ("9_9_9", "0_2_1") in place of its own ABI version.

    Every section but the exports stays as it is, to the byte.
    """
    return module(
        *(
            section(EXPORT, _renamed(payload, new)) if number == EXPORT else whole
            for number, payload, whole in sections(wasm)
        )
    )


def sections(wasm: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The sections of a valid module: number, payload, and the whole of it as it stands (compilers pad the lengths)."""
    at = len(HEADER)
    while at < len(wasm):
        size, start = read_leb(wasm, at + 1)
        yield wasm[at], wasm[start : start + size], wasm[at : start + size]
        at = start + size


def module(*parts: bytes) -> bytes:
    """A header and the sections after it."""
    return HEADER + b"".join(parts)


def section(number: int, payload: bytes) -> bytes:
    """One section: its number, its length, its payload."""
    return bytes([number]) + leb(len(payload)) + payload


def vector(items: Iterable[bytes]) -> bytes:
    """A count, then the items."""
    listed = list(items)
    return leb(len(listed)) + b"".join(listed)


def name(text: str | bytes) -> bytes:
    """A length, then the bytes of a name."""
    raw = text.encode() if isinstance(text, str) else text
    return leb(len(raw)) + raw


def body(code: bytes) -> bytes:
    """A function without locals."""
    return name(b"\0" + code + b"\x0b")


def leb(number: int) -> bytes:
    """An unsigned number in LEB128."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def read_leb(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number at ``at``: (the number, where it ends)."""
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def _renamed(payload: bytes, new: str) -> bytes:
    count, at = read_leb(payload, 0)
    exports = []
    for _ in range(count):
        length, start = read_leb(payload, at)
        label, end = payload[start : start + length], start + length
        _, at = read_leb(payload, end + 1)
        if label.startswith(ABI_PREFIX):
            label = ABI_PREFIX + new.encode()
        exports.append(name(label) + payload[end:at])
    return vector(exports)
