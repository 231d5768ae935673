"""Modules that want to cost much: whatever they announce, reading and judging them stays within a second and 64 MiB."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from pluginrelease.core import compat, wasm
from pluginrelease.core.errors import Refused
from pluginrelease.core.wasm import code, constants, reach, segments
from tests import wasm_modules as made
from tests.cost import measure
from tests.odd_drafts import ONE_PAGE, Draft, const
from tests.wasm_modules import leb, name, section, vector

EMPTY = b"\2\0\x0b"  # a whole body
ONE_TYPE = section(made.TYPE, vector([b"\x60\0\0"]))


def many_types() -> bytes:
    """As many types as are read, no two alike, each of as many values as the section has room for."""
    values = [made.vector([bytes([0x7C + (i >> 2 * k & 3)]) for k in range(45)]) for i in range(wasm.MAX_TYPES)]
    return made.section(made.TYPE, made.vector(b"\x60" + value_type + b"\0" for value_type in values))


def many_imports() -> bytes:
    one = [made.name("e" * 95) + made.name(f"{i:095}") + b"\0\0" for i in range(wasm.MAX_IMPORTS)]
    return made.section(made.IMPORT, made.vector(one))


def many_functions() -> bytes:
    """Numbers that are longer than they need to be."""
    return made.section(made.FUNCTION, made.leb(wasm.MAX_FUNCTIONS) + b"\x80\x80\0" * wasm.MAX_FUNCTIONS)


def many_exports() -> bytes:
    one = [made.name(f"{i:090}") + b"\0" + made.leb(wasm.MAX_IMPORTS + i) for i in range(wasm.MAX_EXPORTS)]
    return made.section(made.EXPORT, made.vector(one))


def many_custom_sections() -> bytes:
    return b"".join(made.section(0, made.name("c" * 99_000)) for _ in range(wasm.MAX_CUSTOM_SECTIONS))


def many_bodies(body: bytes, count: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """So many functions with the same body."""
    functions = section(made.FUNCTION, leb(count) + b"\0" * count)
    return made.module(ONE_TYPE, functions, before, section(made.CODE, leb(count) + body * count), after)


def long_code(instruction: bytes) -> bytes:
    """As much code as is scanned, of one instruction."""
    size = code.V8_BODY_BYTES - 2
    return many_bodies(name(b"\0" + (instruction * (size // len(instruction)))), code.MAX_CODE_BYTES // size)


def all_at_once() -> bytes:
    """All that is read and all that is walked in one module: types, imports, functions and exports by the thousands,
    constants, segments, a start function that reaches much, and code that takes long to scan."""
    count, imports = wasm.MAX_FUNCTIONS, wasm.MAX_IMPORTS
    long_body = name(b"\0" + b"\x0e\0\0" * 500_000)
    calls = name(b"\0" + (const(0) + b"\x11\0\0") * 8 + b"\x0b")
    bodies = [calls] * 50_000 + [EMPTY] * (count - 50_004) + [long_body] * 4
    entries = vector(leb(imports + number) for number in range(60_000))
    return made.module(
        many_types(),
        many_imports(),
        section(made.FUNCTION, leb(count) + b"\x80\x80\0" * count),
        section(4, vector([b"\x70\0" + leb(60_000)])),
        section(made.MEMORY, vector([ONE_PAGE])),
        section(6, leb(10_000) + (b"\x7f\0" + const(1) * 4 + b"\x6a" * 3 + b"\x0b") * 10_000),
        many_exports(),
        section(8, leb(imports)),
        section(9, vector([b"\0\x41\0\x0b" + entries])),
        section(made.CODE, vector(bodies)),
        section(made.DATA, leb(60_000) + (b"\0\x41\0\x0b\0") * 60_000),
    )


def many_calls() -> bytes:
    """A start function with more calls than are walked."""
    return many_bodies(name(b"\0" + b"\x10\0" * ((reach.MAX_WALKED_BYTES >> 1) - 8)), 1, section(8, b"\0"))


def all_call_all() -> bytes:
    """A start function that reaches as many functions as there is room for, each by a table, and each calls on."""
    count, call = 60_000, const(0) + b"\x11\0\0"
    body = name(b"\0" + call * 8 + b"\x0b")
    entries = vector(leb(number) for number in range(count))
    before = section(4, vector([b"\x70\0" + leb(count)])) + section(8, b"\0")
    before += section(9, vector([b"\0\x41\0\x0b" + entries]))
    return many_bodies(body, count, before)


def doubling() -> bytes:
    """A start function by way of 90 others, each of which calls the next one twice."""
    bodies = [name(b"\0" + (b"\x10" + leb(number + 1)) * 2 + b"\x0b") for number in range(90)]
    functions = section(made.FUNCTION, leb(91) + b"\0" * 91)
    return made.module(ONE_TYPE, functions, section(8, b"\0"), section(made.CODE, vector([*bodies, EMPTY])))


def one_type_each() -> bytes:
    """Functions in a table, each of a type of its own, and each calls the type of the next one."""
    count = 15_000
    types = [
        b"\x60" + vector([bytes([0x7F - (number >> bit & 1)]) for bit in range(14)]) + b"\0" for number in range(count)
    ]
    bodies = [name(b"\0\0" + b"\x11" + leb((number + 1) % count) + b"\0\x0b") for number in range(count)]
    return made.module(
        section(made.TYPE, vector(types)),
        section(made.FUNCTION, vector(leb(number) for number in range(count))),
        section(4, vector([b"\x70\0" + leb(count)])),
        section(8, b"\0"),
        section(9, vector([b"\0\x41\0\x0b" + vector(leb(number) for number in range(count))])),
        section(made.CODE, vector(bodies)),
    )


def many_elements() -> bytes:
    before = section(4, vector([b"\x70\0\0"])) + section(8, b"\0")
    one = b"\1\0" + leb(90) + b"\0" * 90
    return many_bodies(EMPTY, 1, before + section(9, leb(20_000) + one * 20_000))


def many_expressions() -> bytes:
    before = section(4, vector([b"\x70\0\0"])) + section(8, b"\0")
    return many_bodies(EMPTY, 1, before + section(9, leb(1) + b"\5\x70" + leb(600_000) + b"\xd2\0\x0b" * 600_000))


def many_data() -> bytes:
    one = b"\0" + b"\x41\xff\xff\xff\xff\0" + b"\x0b\0"
    memory, count = section(made.MEMORY, vector([ONE_PAGE])), segments.V8_DATA_SEGMENTS
    return many_bodies(EMPTY, 1, memory, section(made.DATA, leb(count) + one * count))


def many_data_elsewhere() -> bytes:
    memory, one, count = section(made.MEMORY, vector([ONE_PAGE] * 2)), b"\2\1\x41\0\x0b\0", segments.V8_DATA_SEGMENTS
    return many_bodies(EMPTY, 1, memory, section(made.DATA, leb(count) + one * count))


def many_globals() -> bytes:
    draft = Draft(globals=[b"\x7f\0" + const(1) + const(1) * 5 + b"\x6a" * 5 + b"\x0b"] * 20_000)
    draft.function(b"")
    return draft.bytes()


def many_groups() -> bytes:
    """Types in groups of two, each with a hundred supertypes."""
    kind = b"\x50" + leb(100) + b"\0" * 100 + b"\x5f\0"
    return made.module(section(made.TYPE, leb(5_000) + (b"\x4e\2" + kind * 2) * 5_000))


HOSTILE: dict[str, Callable[[], bytes]] = {
    "all at once": all_at_once,
    "custom sections": lambda: made.module(many_custom_sections()),
    "one long type": lambda: _with_type(b"\x01\x60" + vector([b"\x64\x00"] * 1000) + b"\0"),
    "types in groups": many_groups,
    "long numbers": lambda: made.module(ONE_TYPE, many_functions()[:-1]),
    "short bodies": lambda: many_bodies(EMPTY, wasm.MAX_FUNCTIONS),
    "bodies that are not known": lambda: many_bodies(b"\3\0\xff\x0b", code.MAX_BODIES),
    "bodies with locals": lambda: many_bodies(name(vector([b"\0\x7f"] * 100) + b"\x0b"), code.MAX_BODIES),
    "code: one-byte instructions": lambda: long_code(b"\x01"),
    "code: loads": lambda: long_code(b"\x28\x02\x00"),
    "code: constants": lambda: long_code(b"\x41\x00"),
    "code: SIMD": lambda: long_code(b"\xfd\x80\x01"),
    "code: br_table": lambda: long_code(b"\x0e\x00\x00"),
    "code: br_table of many sizes": lambda: long_code(b"\x0e\x1f" + b"\xff\xff\x03" * 32),
    "code: try_table": lambda: long_code(b"\x1f\x40\x03\x00\x00\x00\x02\x00\x02\x00"),
    "code: a call of a reference that is cut short": lambda: many_bodies(b"\2\0\x14", code.MAX_BODIES),
    "code: a number without an end": lambda: long_code(b"\x41" + b"\xff" * 4096),
    "start: all call all": all_call_all,
    "start: doubling": doubling,
    "start: a type each": one_type_each,
    "start: calls": many_calls,
    "element segments": many_elements,
    "elements that are expressions": many_expressions,
    "data segments": many_data,
    "data segments in memories of their own": many_data_elsewhere,
    "globals": many_globals,
    "constants without an end": lambda: Draft(globals=[b"\x7f\0" + const(1) * constants.MAX_STEPS * 2]).bytes(),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_module_that_wants_to_cost_much(make: Callable[[], bytes]) -> None:
    """Reading it and comparing it takes at most a second of the processor and 64 MiB, whatever it announces.

    A second is that of a quiet machine. The limit here is wider, as processors differ and are shared.
    """
    data = make()
    took, peak = measure(lambda: judged(data))
    assert took < 4.0
    assert peak < 64 << 20


def judged(data: bytes) -> None:
    with suppress(Refused):
        module = wasm.read(data)
        compat.judge(module, {"1.40.0"})
        compat.find_warnings(module, ())


def _with_type(types: bytes) -> bytes:
    return made.module(made.section(made.TYPE, types))
