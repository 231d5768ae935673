"""What a start section reaches: the code of functions, followed from call to call.

A function is reached in three ways:

* by a call of its number
* by an indirect call of its type, if any element segment contains it
* by a call of a reference of its type, if some code or global has a reference to it

This finds more than can be called, and never less.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pluginrelease.core.wasm import instructions
from pluginrelease.core.wasm.code import Bodies, after_locals
from pluginrelease.core.wasm.module import FunctionType, Import, StartSection

MAX_WALKED_BYTES = 2 << 20
MAX_WALKED_CALLS = 50_000
MAX_DEPTH = 100  # of calls on the certain path

_CALLS, _INDIRECT, _REFERENCE_CALLS, _REFERENCE = (0x10, 0x12), (0x11, 0x13), (0x14, 0x15), 0xD2
_RETURNS = (0x12, 0x13, 0x15)
_UNREACHABLE, _RETURN, _CONSTANT = 0x00, 0x0F, 0x41

Shape = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Functions:
    """The functions of a module: the imported ones, and then its own by their types and bodies.

    ``tables``: which function is where in which table. ``referenced``: functions in element segments or globals.
    """

    imported: Sequence[Import]
    types: Sequence[FunctionType | None]
    own: array[int]
    bodies: Bodies
    tables: Mapping[int, Sequence[tuple[int, array[int]]]]
    referenced: frozenset[int]
    _shapes: dict[int, Shape | None] = field(default_factory=dict)

    def shape(self, index: int) -> Shape | None:
        """Return what an indirect call compares. Subtypes differ only in references, so all references count as one."""
        if index < len(self.imported):
            return _shape(self.imported[index].type)
        own = index - len(self.imported)
        return self.declared(self.own[own]) if own < len(self.own) else None

    def declared(self, number: int) -> Shape | None:
        """Return the shape of a declared type."""
        if number not in self._shapes:
            self._shapes[number] = _shape(self.types[number]) if number < len(self.types) else None
        return self._shapes[number]

    def in_table(self, table: int, place: int) -> int | None:
        """Return the function that the last active segment put there."""
        for offset, functions in reversed(self.tables.get(table, ())):
            if offset <= place < offset + len(functions):
                return functions[place - offset]
        return None


def _shape(kind: FunctionType | None) -> Shape | None:
    if kind is None:
        return None
    return tuple(map(_plain, kind.params)), tuple(map(_plain, kind.results))


def _plain(value: str) -> str:
    return value if value in ("i32", "i64", "f32", "f64", "v128") else "ref"


def start(index: int, functions: Functions, *, whole: bool) -> StartSection:
    """Return what the start function reaches. ``whole``: all element segments and globals were read."""
    way = _Way(functions)
    way.follow(index)
    reach = _Reach(functions)
    reach.spread(index)
    return StartSection(tuple(way.imports), tuple(reach.imports), way.traps, whole and reach.whole)


def certain(called: Sequence[int], functions: Functions) -> tuple[Import, ...]:
    """Return the imports that these functions certainly call, when one is called after the other."""
    way = _Way(functions)
    all(way.follow(index) for index in called)
    return tuple(way.imports)


@dataclass
class _Reach:
    """All functions that some path reaches."""

    functions: Functions
    imports: dict[Import, None] = field(default_factory=dict)
    whole: bool = True
    _ahead: list[int] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)
    _shapes: set[Shape | None] = field(default_factory=set)  # types that are called indirectly
    _taken: dict[Shape | None, set[int]] = field(default_factory=dict)  # types whose references may be called
    _bytes: int = 0
    _calls: int = 0

    def spread(self, index: int) -> None:
        """Follow all calls from this function."""
        for referenced in self.functions.referenced:
            self._take(referenced)
        self._ahead.append(index)
        while self._ahead:
            self._enter(self._ahead.pop())

    def _take(self, index: int) -> None:
        """Record that some code or segment has a reference to this function."""
        shape = self.functions.shape(index)
        if shape in self._shapes:
            self._ahead.append(index)
        else:
            self._taken.setdefault(shape, set()).add(index)

    def _call(self, shape: Shape | None) -> None:
        """Record that some code calls a reference to a function of this shape."""
        self._shapes.add(shape)
        self._ahead += self._taken.pop(shape, ())

    def _enter(self, index: int) -> None:
        if index in self._seen:
            return
        self._seen.add(index)
        if index < len(self.functions.imported):
            self.imports[self.functions.imported[index]] = None
            return
        own = index - len(self.functions.imported)
        if own >= len(self.functions.bodies):
            return  # V8 accepts no such module
        body = self.functions.bodies.body(own)
        self._bytes += len(body)
        try:
            self._walk(body)
        except (IndexError, ValueError):
            self.whole = False

    def _walk(self, body: bytes) -> None:
        """Record what a body calls, and what it has references to."""
        if self._bytes > MAX_WALKED_BYTES:
            raise ValueError
        at, _ = after_locals(body)
        while (at := _after(instructions.QUIET_RUN, body, at)) < len(body):
            self._calls += 1
            if self._calls > MAX_WALKED_CALLS:
                raise ValueError
            code = body[at]
            if code == instructions.BR_TABLE:
                _, at = instructions.after_br_table(body, at)
            elif code == instructions.TRY_TABLE:
                at = instructions.after_try_table(body, at)
            else:
                number, at = instructions.number_at(body, at + 1)
                if code in _INDIRECT:
                    _, at = instructions.number_at(body, at)
                self._note(code, number)

    def _note(self, code: int, number: int) -> None:
        if code in _CALLS:
            self._ahead.append(number)
        elif code == _REFERENCE:
            self._take(number)
        elif code in (*_INDIRECT, *_REFERENCE_CALLS):
            self._call(self.functions.declared(number))
        else:
            raise ValueError


@dataclass
class _Way:
    """The certain path: from the first instruction to the first branch."""

    functions: Functions
    imports: dict[Import, None] = field(default_factory=dict)
    traps: bool = False
    _comes_back: dict[int, bool] = field(default_factory=dict)
    _depth: int = 0

    def follow(self, index: int) -> bool:
        """Follow a function; return True if it certainly returns.

        Once is enough, because the path is always the same.
        """
        if index not in self._comes_back:
            self._comes_back[index] = False  # a function that calls itself does not
            self._comes_back[index] = self._enter(index)
        return self._comes_back[index]

    def _enter(self, index: int) -> bool:
        if index < len(self.functions.imported):
            self.imports[self.functions.imported[index]] = None
            return True
        own = index - len(self.functions.imported)
        if own >= len(self.functions.bodies) or self._depth > MAX_DEPTH:
            return False
        self._depth += 1
        try:
            return self._through(self.functions.bodies.body(own))
        except (IndexError, ValueError):
            return False
        finally:
            self._depth -= 1

    def _through(self, body: bytes) -> bool:
        at, _ = after_locals(body)
        while (at := _after(instructions.STRAIGHT_RUN, body, at)) < len(body):
            code = body[at]
            if code in (_UNREACHABLE, _RETURN):
                self.traps = self.traps or (code == _UNREACHABLE and not self.imports)
                return code == _RETURN
            called, last, at = self._called(body, at)
            if called is None:
                if last != _REFERENCE:
                    return False
            elif not self.follow(called) or last in _RETURNS:
                return self._comes_back[called]
        return True

    def _called(self, body: bytes, at: int) -> tuple[int | None, int, int]:
        """Return the function that the instruction at ``at`` calls, if certain.

        Also the code of the last instruction that was read, and where the next one begins.
        """
        code = body[at]
        if code not in (*_CALLS, _CONSTANT, _REFERENCE):
            return None, code, at
        number, at = instructions.number_at(body, at + 1)
        if code in _CALLS:
            return number, code, at
        if code == _REFERENCE and body[at] not in _REFERENCE_CALLS:
            return None, code, at
        code = body[at]
        _, at = instructions.number_at(body, at + 1)
        if code in _REFERENCE_CALLS:
            return number, code, at
        table, at = instructions.number_at(body, at)
        return self.functions.in_table(table, number), code, at


def _after(run: re.Pattern[bytes], body: bytes, at: int) -> int:
    found = run.match(body, at)
    return found.end() if found else at
