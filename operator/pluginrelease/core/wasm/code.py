"""The code section: where each function's body is, and which of its instructions not every V8 supports.

Nothing is validated: V8 does that. The scan of a body ends at an unknown instruction.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from pluginrelease.core.wasm import instructions
from pluginrelease.core.wasm.cursor import Bytes, Cursor, malformed
from pluginrelease.core.wasm.instructions import Feature

# Limits of the scan; the largest plugins need a fifth of them. The time is spent on bytes, on bodies, and on
# instructions that no pattern can skip.
MAX_CODE_BYTES = 12 << 20
MAX_BODIES = 50_000
MAX_STOPS = 100_000
MAX_LOCAL_GROUPS = 1_000  # in one function
# v8/src/wasm/wasm-limits.h
V8_BODY_BYTES = 7_654_321
V8_LOCALS = 50_000
V8_BR_TABLE = 65_520


@dataclass
class Bodies:
    """The bodies of a module's own functions, by their number among these."""

    data: Bytes = b""
    starts: array[int] = field(default_factory=lambda: array("I"))
    ends: array[int] = field(default_factory=lambda: array("I"))

    def __len__(self) -> int:
        return len(self.starts)

    def read(self, section: Cursor) -> None:
        """Read where the bodies are."""
        count = section.u32()
        self.data = data = section.data
        at, end = section.at, section.end
        for _ in range(count):
            head = data[at : min(at + 5, end)]
            if head and head[0] < 0x80:
                length, at = head[0], at + 1
            else:
                length, at = _length(head, at)
            self.starts.append(at)
            at += length
            if at > end:
                malformed("the code section holds more than its length says")
            self.ends.append(at)
        section.at = at
        section.close()

    def body(self, number: int) -> bytes:
        """Return a body, with its locals."""
        return self.data[self.starts[number] : self.ends[number]]

    @property
    def largest(self) -> int:
        return max((end - start for start, end in zip(self.starts, self.ends, strict=True)), default=0)


def _length(head: bytes, at: int) -> tuple[int, int]:
    try:
        length, read = instructions.number_at(head, 0)
    except (IndexError, ValueError):
        malformed("the code section holds less than its count says")
    return length, at + read


@dataclass
class Scan:
    """What all the code needs. ``whole`` is False if not all of it was read."""

    features: set[Feature] = field(default_factory=set)
    beyond: dict[str, None] = field(default_factory=dict)
    whole: bool = True
    stops: int = 0

    def read(self, bodies: Bodies) -> None:
        """Scan the bodies, in order, within the limits."""
        left = MAX_CODE_BYTES
        for number in range(len(bodies)):
            left -= bodies.ends[number] - bodies.starts[number]
            if left < 0 or number >= MAX_BODIES or self.stops >= MAX_STOPS:
                self.whole = False
                return
            try:
                self._body(bodies.body(number))
            except (IndexError, ValueError):
                self.whole = False

    def _body(self, body: bytes) -> None:
        if len(body) > V8_BODY_BYTES:
            self._exceeds(f"a function has {len(body)} bytes of code, more than the {V8_BODY_BYTES} that V8 takes")
            return
        at, count = after_locals(body)
        self.stops += instructions.number_at(body, 0)[0]  # each group of local variables takes time, too
        if count > V8_LOCALS:
            self._exceeds(f"a function has {count} local variables, more than the {V8_LOCALS} that V8 takes")
        run = instructions.walker(frozenset(self.features))
        while (found := run.match(body, at)) and found.end() < len(body):
            self.stops += 1
            if self.stops >= MAX_STOPS:
                return
            at = self._stop(body, found.end())
            run = instructions.walker(frozenset(self.features))

    def _stop(self, body: bytes, at: int) -> int:
        """Handle the instruction at ``at``; return where the next run begins."""
        if body[at] == instructions.BR_TABLE:
            labels, after = instructions.after_br_table(body, at)
            if labels > V8_BR_TABLE:
                self._exceeds(f"a br_table has {labels} labels, more than the {V8_BR_TABLE} that V8 takes")
            return after
        feature = instructions.feature_at(body, at)
        known = feature in self.features
        if feature is not None:
            self.features.add(feature)
        if body[at] == instructions.TRY_TABLE:
            return instructions.after_try_table(body, at)
        if feature is None or known or feature is Feature.STACK_SWITCHING:
            raise ValueError  # not known here, or cut short
        return at

    def _exceeds(self, what: str) -> None:
        if len(self.beyond) < 8:
            self.beyond[what] = None


def after_locals(body: bytes) -> tuple[int, int]:
    """Return where a body's instructions begin, and its number of local variables. Raises IndexError or ValueError."""
    groups, at = instructions.number_at(body, 0)
    if groups > MAX_LOCAL_GROUPS:
        raise ValueError
    total = 0
    for _ in range(groups):
        count, at = instructions.number_at(body, at)
        total += count
        at = instructions.after_type(body, at)
    return at, total
