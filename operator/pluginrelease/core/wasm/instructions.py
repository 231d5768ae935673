"""The instructions of WebAssembly as regular expressions, so that whole functions are read at the speed of `re`.

An instruction is an opcode and its operands, most of them LEB128 numbers. `walker` returns a pattern that matches as
many complete instructions of the wanted kinds as follow one another. Where it stops, the caller handles one
instruction. Opcodes: https://webassembly.github.io/spec/core/appendix/index-instructions.html and the proposals' own
lists. All repetition is possessive: nothing is tried twice, for any bytes.
"""

from __future__ import annotations

import functools
import re
from enum import StrEnum

LEB = rb"[\x80-\xff]*+[\x00-\x7f]"
_MEMORY = rb"(?:[\x40-\x7f]" + LEB + rb"|" + LEB + rb")" + LEB  # alignment, in its bit 6 a memory's number, and offset
_TYPE = rb"(?:[\x63\x64]" + LEB + rb"|" + LEB + rb")"


class Feature(StrEnum):
    """Parts of the language that not every V8 has."""

    TAIL_CALLS = "tail calls"
    EXTENDED_CONST = "extended constant expressions"
    RELAXED_SIMD = "relaxed SIMD"
    EXCEPTIONS = "exceptions with exnref"
    REFERENCES = "typed references"
    GC = "garbage collection"
    MULTI_MEMORY = "several memories"
    MEMORY64 = "64-bit memories or tables"
    WIDE_ARITHMETIC = "wide arithmetic"
    STACK_SWITCHING = "stack switching"
    PAGE_SIZES = "custom page sizes"


# Instructions that continue with the next one: no branch, no call. Loads and divisions may trap, which ends the run.
STRAIGHT = (
    rb"[\x20-\x26\x3f\x40\x42\xd0]" + LEB,
    rb"\x41" + LEB + rb"(?![\x11\x13])",  # a constant, but not the one that says which function of a table is called
    rb"[\x01\x0b\x1a\x1b\x45-\xc4\xd1]",
    rb"[\x28-\x3e]" + _MEMORY,
    rb"[\x02\x03]" + _TYPE,
    rb"\x43.{4}",
    rb"\x44.{8}",
    rb"\x1c\x01" + _TYPE,
    rb"\xfc(?:[\x00-\x07]|[\x08\x0a\x0c\x0e]" + LEB + LEB + rb"|[\x09\x0b\x0d\x0f-\x11]" + LEB + rb")",
    rb"\xfd(?:[\x00-\x0b\x5c\x5d]"
    + _MEMORY
    + rb"|[\x0c\x0d].{16}|[\x15-\x22].|[\x54-\x5b]"
    + _MEMORY
    + rb".|[\x0e-\x14\x23-\x53\x5e-\x7f]|[\x80-\xff]\x01)",
    rb"\xfe(?:[\x00-\x02\x10-\x4e]" + _MEMORY + rb"|\x03.)",
)
# Branches, and the old exceptions. br_table has as many operands as it says, which no pattern can count.
_BRANCHES = (rb"[\x07-\x09\x0c\x0d\x18]" + LEB, rb"[\x00\x05\x0f\x19]", rb"[\x04\x06]" + _TYPE)
_CALLS = (rb"[\x10\xd2]" + LEB, rb"\x11" + LEB + LEB)
_CONSTANT = (rb"\x41" + LEB,)  # before what stops `STRAIGHT`
_TAIL_CALLS = (rb"\x12" + LEB, rb"\x13" + LEB + LEB)
_REFERENCE_CALLS = (rb"[\x14\x15]" + LEB,)
_NEWER = {
    Feature.RELAXED_SIMD: (rb"\xfd[\x80-\x93]\x02",),
    Feature.EXCEPTIONS: (rb"\x0a",),
    Feature.REFERENCES: (rb"\xd4", rb"[\xd5\xd6]" + LEB),
    Feature.GC: (
        rb"\xd3",
        rb"\xfb(?:[\x00\x01\x06\x07\x0b-\x0e\x10\x14-\x17]"
        + LEB
        + rb"|[\x02-\x05\x08-\x0a\x11-\x13]"
        + LEB
        + LEB
        + rb"|[\x0f\x1a-\x1e]|[\x18\x19]."
        + LEB
        + LEB
        + LEB
        + rb")",
    ),
    Feature.WIDE_ARITHMETIC: (rb"\xfc[\x13-\x16]",),
}
_FIRST_BYTES = {
    0x12: Feature.TAIL_CALLS,
    0x13: Feature.TAIL_CALLS,
    0x14: Feature.REFERENCES,
    0x15: Feature.REFERENCES,
    0x1F: Feature.EXCEPTIONS,
}
_STACK_SWITCHING = range(0xE0, 0xE7)
BR_TABLE, TRY_TABLE = 0x0E, 0x1F


@functools.lru_cache(maxsize=64)
def walker(known: frozenset[Feature]) -> re.Pattern[bytes]:
    """Return a pattern for as many instructions in a row as need only what every V8 has, and these features."""
    newer = [pattern for feature, patterns in _NEWER.items() if feature in known for pattern in patterns]
    calls = (*_CALLS, *(_TAIL_CALLS if Feature.TAIL_CALLS in known else ()))
    calls += _REFERENCE_CALLS if Feature.REFERENCES in known else ()
    return _run(*STRAIGHT, *_CONSTANT, *_BRANCHES, *calls, *newer)


def _run(*patterns: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?:" + rb"|".join(patterns) + rb")*+", re.DOTALL)


STRAIGHT_RUN = _run(*STRAIGHT)
"""As many instructions in a row as surely lead to the next."""
QUIET_RUN = _run(*STRAIGHT, *_CONSTANT, *_BRANCHES, *(pattern for many in _NEWER.values() for pattern in many))
"""As many instructions in a row as call nothing and make no reference to a function."""
ONE_CONSTANT = re.compile(rb"|".join([rb"\xfd\x0c.{16}", *_NEWER[Feature.GC]]), re.DOTALL)
"""One instruction that a constant expression may have, without an operand."""
GC_PREFIX, PREFIXES = 0xFB, range(0xFB, 0x100)


def feature_at(body: bytes, at: int) -> Feature | None:
    """Return the newer feature of the instruction at ``at``; None if it is unknown."""
    if (first := _FIRST_BYTES.get(body[at])) is not None:
        return first
    if body[at] in _STACK_SWITCHING:
        return Feature.STACK_SWITCHING
    for feature, patterns in _NEWER.items():
        if any(re.compile(pattern, re.DOTALL).match(body, at) for pattern in patterns):
            return feature
    return None


def number_at(body: bytes, at: int) -> tuple[int, int]:
    """Return an unsigned LEB128 and where it ends. Raises IndexError or ValueError if there is none."""
    value = 0
    for shift in range(0, 35, 7):
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError


_TYPED = re.compile(_TYPE)
_IN_A_ROW = [re.compile(rb"(?:" + LEB + rb"){%d}" % (1 << power)) for power in range(20)]


def skip_numbers(body: bytes, at: int, count: int) -> int:
    """Return where ``count`` LEB128 numbers in a row end. Raises ValueError if there are fewer."""
    while count:
        power = min(count.bit_length(), len(_IN_A_ROW)) - 1
        if (found := _IN_A_ROW[power].match(body, at)) is None:
            raise ValueError
        at, count = found.end(), count - (1 << power)
    return at


def after_br_table(body: bytes, at: int) -> tuple[int, int]:
    """Return the labels of the br_table at ``at``, without its default, and where it ends. Raises as `number_at`."""
    count, at = number_at(body, at + 1)
    return count, skip_numbers(body, at, count + 1)


def after_type(body: bytes, at: int) -> int:
    """Return where the value type at ``at`` ends. Raises ValueError if there is none."""
    if (found := _TYPED.match(body, at)) is None:
        raise ValueError
    return found.end()


def after_try_table(body: bytes, at: int) -> int:
    """Return where the try_table at ``at`` and its catch clauses end. Raises as `number_at`."""
    count, at = number_at(body, after_type(body, at + 1))
    for _ in range(count):
        clause = body[at]
        if clause > 3:
            raise ValueError
        at = skip_numbers(body, at + 1, 2 if clause < 2 else 1)  # catch and catch_ref name a tag, too
    return at
