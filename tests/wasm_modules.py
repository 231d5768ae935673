"""Small WebAssembly modules composed by code, and changes to real ones: what the tests feed in as good and bad bytes.

The layout is the binary format's own: https://webassembly.github.io/spec/core/binary/modules.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

HEADER = b"\0asm\x01\0\0\0"
TYPE, IMPORT, FUNCTION, MEMORY, EXPORT, START, CODE, DATA = 1, 2, 3, 5, 7, 8, 10, 11
KIND_FUNCTION, KIND_MEMORY = 0, 2
I32 = b"\x7f"
ABI_PREFIX = b"proxy_abi_version_"


def plugin(abi: str = "0_2_0", *, imports: Iterable[tuple[str, str]] = (), start: bytes = b"") -> bytes:
    """A valid module that announces ``abi`` and imports functions ``() -> i32`` by (module, name).

    ``start`` is the code of its proxy_on_vm_start; without it there is none.
    """
    functions = [
        (f"proxy_abi_version_{abi}", 0, 0, b""),
        ("proxy_on_memory_allocate", 1, 1, b"\x41\0"),
        ("_initialize", 0, 0, b""),
        *([("proxy_on_vm_start", 2, 1, start)] if start else []),
    ]
    return composed([(m, n, 0, 1) for m, n in imports], functions)


def traps_at_start() -> bytes:
    """A module with which everything is right until a gateway starts it: its first instruction is ``unreachable``."""
    return plugin(start=b"\0")


def answering(value: str, *, refuses_configuration: bool = False) -> bytes:
    """A whole plugin in some hundred bytes: it adds the header ``x-plugin: value`` to each response.

    With ``refuses_configuration`` it starts only when it is given none.
    """
    key, answer = b"x-plugin", value.encode()
    texts = [0, len(key), len(key), len(answer)]
    add = b"\x41\x02" + b"".join(b"\x41" + leb(number) for number in texts) + b"\x10\0\x1a\x41\0"
    accept = b"\x20\x01\x45" if refuses_configuration else b"\x41\x01"
    return composed(
        [("env", "proxy_add_header_map_value", 5, 1)],
        [
            ("proxy_abi_version_0_2_0", 0, 0, b""),
            ("proxy_on_memory_allocate", 1, 1, b"\x41\0"),
            ("proxy_on_configure", 2, 1, accept),
            ("proxy_on_response_headers", 3, 1, add),
        ],
        data=key + answer,
    )


def licensed(value: str) -> bytes:
    """`answering`, which starts only in a gateway whose metadata have LICENSE (variable ISTIO_META_LICENSE).

    Its proxy_on_configure returns whether proxy_get_property finds it. What is found is copied to 512.
    """
    key, answer, path = b"x-plugin", value.encode(), b"xds\0node\0metadata\0LICENSE"
    texts = [0, len(key), len(key), len(answer)]
    add = b"\x41\x02" + b"".join(b"\x41" + leb(number) for number in texts) + b"\x10\0\x1a\x41\0"
    ask = constant(len(key) + len(answer)) + constant(len(path)) + constant(256) + constant(260) + b"\x10\x01"
    return composed(
        [("env", "proxy_add_header_map_value", 5, 1), ("env", "proxy_get_property", 4, 1)],
        [
            ("proxy_abi_version_0_2_0", 0, 0, b""),
            ("proxy_on_memory_allocate", 1, 1, constant(512)),
            ("proxy_on_configure", 2, 1, ask + b"\x45"),  # i32.eqz: 0 is Ok
            ("proxy_on_response_headers", 3, 1, add),
        ],
        data=key + answer + path,
    )


def telling(value: str, most: int) -> bytes:
    """`answering`, which logs its configuration as an error, and refuses one of ``most`` bytes or more.

    The host is given 1024 for what it hands over.
    """
    key, answer = b"x-plugin", value.encode()
    texts = [0, len(key), len(key), len(answer)]
    add = b"\x41\x02" + b"".join(b"\x41" + leb(number) for number in texts) + b"\x10\0\x1a\x41\0"
    read = b"".join(map(constant, (7, 0, 4096, 256, 260))) + b"\x10\x01\x1a"  # 7: PluginConfiguration
    tell = constant(4) + constant(1024) + b"\x20\x01\x10\x02\x1a"  # 4: error
    return composed(
        [
            ("env", "proxy_add_header_map_value", 5, 1),
            ("env", "proxy_get_buffer_bytes", 5, 1),
            ("env", "proxy_log", 3, 1),
        ],
        [
            ("proxy_abi_version_0_2_0", 0, 0, b""),
            ("proxy_on_memory_allocate", 1, 1, constant(1024)),
            ("proxy_on_configure", 2, 1, read + tell + b"\x20\x01" + constant(most) + b"\x49"),  # i32.lt_u
            ("proxy_on_response_headers", 3, 1, add),
        ],
        data=key + answer,
    )


def configured_once(value: str) -> bytes:
    """`answering`, which refuses to be configured a second time in one VM, as a plugin does that registers a name.

    Its proxy_on_configure returns whether the number at 60 is still zero, and sets it. Envoy tries each configuration
    in a VM of its own, where it is the first; in the VMs of the workers it is the second.
    """
    key, answer = b"x-plugin", value.encode()
    texts = [0, len(key), len(key), len(answer)]
    add = b"\x41\x02" + b"".join(b"\x41" + leb(number) for number in texts) + b"\x10\0\x1a\x41\0"
    is_first = b"\x41\x3c\x28\x02\0\x45"  # i32.load of 60, i32.eqz
    remember = b"\x41\x3c\x41\x01\x36\x02\0"  # i32.store of 1 at 60
    return composed(
        [("env", "proxy_add_header_map_value", 5, 1)],
        [
            ("proxy_abi_version_0_2_0", 0, 0, b""),
            ("proxy_on_memory_allocate", 1, 1, b"\x41\0"),
            ("proxy_on_configure", 2, 1, is_first + remember),
            ("proxy_on_response_headers", 3, 1, add),
        ],
        data=key + answer,
    )


def traps_on_request(header: str = "x-trap") -> bytes:
    """A plugin that loads, passes requests on, and traps in proxy_on_request_headers at one with ``header``."""
    key = header.encode()
    found = b"\x41\0\x41\0\x41" + leb(len(key)) + b"\x41\x30\x41\x34\x10\0\x41\x01\x47"  # anything but NotFound
    return composed(
        [("env", "proxy_get_header_map_value", 5, 1)],
        [
            ("proxy_abi_version_0_2_0", 0, 0, b""),
            ("proxy_on_memory_allocate", 1, 1, b"\x41\0"),
            ("proxy_on_request_headers", 3, 1, found + b"\x04\x40\0\x0b\x41\0"),
        ],
        data=key,
    )


def kills_at_load() -> bytes:
    """A module whose start section logs a line, as AssemblyScript makes of a log call at the top level.

    The engine runs it while it makes the instance, before there is a context that the host function could use: Envoy
    dies of a segmentation fault.
    """
    log = b"\x41\2\x41\0\x41\0\x10\0\x1a"  # proxy_log(info, at 0, no bytes), drop
    return composed(
        [("env", "proxy_log", 3, 1)],
        [
            ("proxy_abi_version_0_2_0", 0, 0, b""),
            ("proxy_on_memory_allocate", 1, 1, b"\x41\0"),
            ("start", 0, 0, log),
        ],
        start="start",
    )


def aborts_at_configure() -> bytes:
    """A module whose proxy_on_configure calls a gRPC service that it does not name: Envoy aborts (SIGABRT).

    Nothing about the module shows it: what a plugin passes to a host function is known only when it runs.
    """
    nothing = b"\x41\0" * 10  # service, service name, method name, metadata and message, each at 0 and empty
    call = nothing + b"\x41\x64\x41\x20\x10\0\x1a"  # 100 ms, the call's token at 32, drop the result
    return composed(
        [("env", "proxy_grpc_call", 12, 1)],
        [
            ("proxy_abi_version_0_2_1", 0, 0, b""),
            ("proxy_on_memory_allocate", 1, 1, b"\x41\0"),
            ("proxy_on_configure", 2, 1, call + b"\x41\1"),
        ],
    )


def hangs_at_configure() -> bytes:
    """A module whose proxy_on_configure never returns: Envoy's main thread hangs, and its workers go on."""
    return composed(
        [],
        [
            ("proxy_abi_version_0_2_1", 0, 0, b""),
            ("proxy_on_memory_allocate", 1, 1, b"\x41\0"),
            ("proxy_on_configure", 2, 1, b"\x03\x40\x0c\0\x0b\x41\1"),  # loop, branch to its beginning, end
        ],
    )


def eats_memory(mebibytes: int) -> bytes:
    """A module whose proxy_on_configure takes that much memory and writes to all of it; less than 2048."""
    grow = constant(mebibytes * 16) + b"\x40\0\x1a"  # pages of 64 KiB; drop the result
    fill = constant(65536) + constant(1) + constant(mebibytes * 1024 * 1024) + b"\xfc\x0b\0"
    return composed(
        [],
        [
            ("proxy_abi_version_0_2_1", 0, 0, b""),
            ("proxy_on_memory_allocate", 1, 1, b"\x41\0"),
            ("proxy_on_configure", 2, 1, grow + fill + b"\x41\1"),
        ],
    )


def composed(
    imports: Sequence[tuple[str, str, int, int]],
    functions: Sequence[tuple[str, int, int, bytes]],
    data: bytes = b"",
    start: str = "",
) -> bytes:
    """A module with one memory, which begins with ``data``, and with functions of i32 alone.

    Imports are (module, name, parameters, results), functions (exported name, parameters, results, code). ``start``
    names the function that the engine calls when it makes an instance.
    """
    shapes = [(takes, gives) for _, _, takes, gives in imports] + [(takes, gives) for _, takes, gives, _ in functions]
    exports = [name(f[0]) + bytes([KIND_FUNCTION]) + leb(len(imports) + i) for i, f in enumerate(functions)]
    return module(
        section(TYPE, vector(b"\x60" + vector([I32] * takes) + vector([I32] * gives) for takes, gives in shapes)),
        section(IMPORT, vector(name(i[0]) + name(i[1]) + bytes([KIND_FUNCTION, at]) for at, i in enumerate(imports))),
        section(FUNCTION, vector(leb(len(imports) + at) for at in range(len(functions)))),
        section(MEMORY, vector([b"\0\x01"])),
        section(EXPORT, vector([*exports, name("memory") + bytes([KIND_MEMORY, 0])])),
        *([section(START, leb(len(imports) + [f[0] for f in functions].index(start)))] if start else []),
        section(CODE, vector(body(code) for _, _, _, code in functions)),
        *([section(DATA, vector([b"\0\x41\0\x0b" + name(data)]))] if data else []),
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


def answering_until_trapped(value: str, header: str = "x-trap") -> bytes:
    """`answering` and `traps_on_request` in one."""
    return _answering_until(value, header, b"\0")


def answering_until_aborted(value: str, header: str = "x-trap") -> bytes:
    """`answering`, until a request with this header: then Envoy aborts, as for `aborts_at_configure`."""
    call = b"\x41\0" * 10 + b"\x41\xe4\0\x41\xc0\0\x10\x02\x1a"  # 100 ms, the call's token at 64
    return _answering_until(value, header, call, [("env", "proxy_grpc_call", 12, 1)])


def answering_until_hung(value: str, header: str = "x-trap") -> bytes:
    """`answering`, until a request with this header never returns: that worker hangs, and the others go on."""
    return _answering_until(value, header, b"\x03\x40\x0c\0\x0b")


def _answering_until(value: str, header: str, deed: bytes, imports: Iterable[tuple[str, str, int, int]] = ()) -> bytes:
    added, asked = b"x-plugin" + value.encode(), header.encode()
    key, size = b"x-plugin", len(added)
    add = b"\x41\x02" + b"".join(b"\x41" + leb(number) for number in (0, len(key), len(key), size - len(key)))
    found = b"\x41\0\x41" + leb(size) + b"\x41" + leb(len(asked)) + b"\x41\x30\x41\x34\x10\0\x41\x01\x47"
    return composed(
        [("env", "proxy_get_header_map_value", 5, 1), ("env", "proxy_add_header_map_value", 5, 1), *imports],
        [
            ("proxy_abi_version_0_2_0", 0, 0, b""),
            ("proxy_on_memory_allocate", 1, 1, b"\x41\0"),
            ("proxy_on_request_headers", 3, 1, found + b"\x04\x40" + deed + b"\x0b\x41\0"),
            ("proxy_on_response_headers", 3, 1, add + b"\x10\x01\x1a\x41\0"),
        ],
        data=added + asked,
    )


def without_allocator() -> bytes:
    """A plugin that exports nothing by which a gateway could allocate memory in it."""
    return composed([], [("proxy_abi_version_0_2_0", 0, 0, b""), ("_initialize", 0, 0, b"")])


def allocator_of_another_type() -> bytes:
    """A plugin whose allocator takes two sizes, where a gateway gives one."""
    return composed([], [("proxy_abi_version_0_2_0", 0, 0, b""), ("proxy_on_memory_allocate", 2, 1, b"\x41\0")])


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


def constant(number: int) -> bytes:
    """``i32.const`` of a number that is not negative: signed LEB128, whose last byte has no sign bit."""
    raw = leb(number)
    return b"\x41" + (raw if raw[-1] < 0x40 else raw[:-1] + bytes([raw[-1] | 0x80, 0]))


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
