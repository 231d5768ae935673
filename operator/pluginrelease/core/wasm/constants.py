"""Constant expressions: the first value of a global, or the offset of a segment."""

from __future__ import annotations

from dataclasses import dataclass, field

from pluginrelease.core.wasm import instructions
from pluginrelease.core.wasm.cursor import Cursor, malformed, not_read
from pluginrelease.core.wasm.instructions import Feature
from pluginrelease.core.wasm.types import Types

MAX_STEPS = 100_000  # in all expressions of a module
_END, _REF_NULL, _REF_FUNC, _GLOBAL = 0x0B, 0xD0, 0xD2, 0x23
_ARITHMETIC = {0x6A: "+", 0x6B: "-", 0x6C: "*", 0x7C: "+", 0x7D: "-", 0x7E: "*"}
_FLOATS = {0x43: 4, 0x44: 8}


@dataclass
class Constants:
    """Reads constant expressions of one module. ``globals``: the value of each global, None if it is not known."""

    types: Types
    globals: list[int | None] = field(default_factory=list)
    functions: set[int] = field(default_factory=set)
    """The functions that some expression makes a reference to."""
    steps: int = 0

    def read(self, section: Cursor) -> int | None:
        """Read one expression; return its value, as an unsigned number, if it is a known integer."""
        stack: list[int | None] = []
        while (code := section.byte()) != _END:
            self.steps += 1
            if self.steps > MAX_STEPS:
                not_read(f"its constant expressions have more than {MAX_STEPS} instructions")
            self._step(code, section, stack)
        return stack[-1] if len(stack) == 1 else None

    def _step(self, code: int, section: Cursor, stack: list[int | None]) -> None:
        if code in (0x41, 0x42):
            bits = 32 if code == 0x41 else 64
            stack.append(section.signed(bits) & (1 << bits) - 1)
        elif code in _ARITHMETIC:
            self.types.features.add(Feature.EXTENDED_CONST)
            _calculate(code, stack)
        elif code == _GLOBAL:
            index = section.u32()
            stack.append(self.globals[index] if index < len(self.globals) else None)
        elif code in _FLOATS:
            section.skip(_FLOATS[code])
            stack.append(None)
        elif code == _REF_FUNC:
            self.functions.add(section.u32())
            stack.append(None)
        elif code == _REF_NULL:
            self.types.heap(section)
            stack.append(None)
        else:
            self._other(section, stack)

    def _other(self, section: Cursor, stack: list[int | None]) -> None:
        """Skip a vector or a garbage-collection instruction. Its value is not needed."""
        section.at -= 1
        rest = section.peek(64)
        found = instructions.ONE_CONSTANT.match(rest)
        if found is None:
            if rest[0] in instructions.PREFIXES:
                not_read(f"an expression in {section.where} has an instruction that is not known here")
            malformed(f"an expression in {section.where} is not constant")
        if rest[0] == instructions.GC_PREFIX:
            self.types.features.add(Feature.GC)
        section.at += found.end()
        stack[:] = [None, None]  # its value does not matter


def _calculate(code: int, stack: list[int | None]) -> None:
    right, left = (stack.pop() if stack else None for _ in range(2))
    bits = 32 if code < 0x70 else 64
    if left is None or right is None:
        stack.append(None)
        return
    results = {"+": left + right, "-": left - right, "*": left * right}
    stack.append(results[_ARITHMETIC[code]] & (1 << bits) - 1)
