"""A position in a module's bytes, and the ways to refuse what is there."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import NoReturn, Protocol

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused
from pluginrelease.core.wasm import instructions

# Sections have limits of their own; a name within one may have any length, as in V8.
MAX_NAME_BYTES = 1 << 20
REBUILD = "Build and push the plugin again."


class Bytes(Protocol):
    """A module's bytes: ``bytes``, or a mapped file of which only what is read comes into memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


def malformed(what: str) -> NoReturn:
    """Refuse what no WebAssembly engine accepts."""
    raise Refused(Reason.MALFORMED_MODULE, f"The WebAssembly module is malformed: {what}", REBUILD)


def truncated(where: str) -> NoReturn:
    """Refuse what ends too early."""
    raise Refused(
        Reason.TRUNCATED_MODULE,
        f"The WebAssembly module is cut short: it ends within {where}",
        REBUILD + " Compare the size of the pushed file with the one the compiler wrote.",
    )


def not_read(what: str) -> NoReturn:
    """Refuse what a gateway may accept but this reader does not read."""
    raise Refused(
        Reason.MODULE_NOT_READ,
        f"The WebAssembly module is not read, so nothing can be said of it: {what}",
        "Make the plugin smaller, or build it with another toolchain; please report a plugin that is valid as it is.",
    )


def beyond(what: str) -> NoReturn:
    """Refuse what exceeds V8's limits."""
    raise Refused(
        Reason.BEYOND_V8_LIMITS,
        f"Failed to load Wasm bytecode: {what}",
        "Make the plugin smaller: V8, which runs it in the gateway, has these limits built in.",
    )


@dataclass(slots=True)
class Cursor:
    """A position in the bytes, and the end that no read may pass."""

    data: Bytes
    at: int
    end: int
    where: str
    truncated: bool = False

    def done(self) -> bool:
        return self.at >= self.end

    def take(self, length: int) -> bytes:
        start = self.skip(length)
        return self.data[start : self.at]

    def skip(self, length: int) -> int:
        """Skip so many bytes without reading them; return where they begin."""
        start, stop = self.at, self.at + length
        if stop > self.end:
            if self.truncated:
                truncated(self.where)
            malformed(f"{self.where} holds more than its length says")
        self.at = stop
        return start

    def byte(self) -> int:
        return self.take(1)[0]

    def peek(self, length: int) -> bytes:
        """Return the next bytes, at most ``length``, without consuming them."""
        return self.data[self.at : min(self.at + length, self.end)]

    def numbers(self, count: int) -> array[int]:
        """Return ``count`` unsigned 32-bit numbers in a row; fast for a million of them."""
        short = self.peek(count)
        if len(short) == count and short.isascii():  # each is one byte
            self.at += count
            return array("I", list(short))
        found, value, shift, read = array("I"), 0, 0, 0
        for byte in self.peek(5 * count):
            if len(found) == count:
                break
            read += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 and value <= 0xFFFFFFFF:
                found.append(value)
                value = shift = 0
            elif shift >= 35 or byte < 0x80:
                malformed(f"a number in {self.where} does not fit into 32 bits")
        self.at += read
        if len(found) < count:
            malformed(f"{self.where} holds less than its count says")
        return found

    def skip_numbers(self, count: int) -> None:
        """Skip ``count`` numbers whose values do not matter."""
        try:
            self.at += instructions.skip_numbers(self.peek(5 * count), 0, count)
        except ValueError:
            malformed(f"{self.where} holds less than its count says")

    def u32(self) -> int:
        """Read an unsigned LEB128 of at most 32 bits in at most five bytes."""
        return self._unsigned(32)

    def u64(self) -> int:
        """Read an unsigned LEB128 of at most 64 bits in at most ten bytes."""
        return self._unsigned(64)

    def _unsigned(self, bits: int) -> int:
        value = 0
        for shift in range(0, bits + 6, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> bits:
                    break
                return value
        malformed(f"a number in {self.where} does not fit into {bits} bits")

    def signed(self, bits: int) -> int:
        """Read a signed LEB128 of at most ``bits`` bits."""
        value = 0
        for shift in range(0, bits + 6, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value - (1 << shift + 7) if byte & 0x40 else value
        malformed(f"a number in {self.where} does not fit into {bits} bits")

    def count(self, most: int, what: str, v8: int | None = None) -> int:
        """Read a count. At most ``most`` items are read here; V8 accepts at most ``v8``."""
        number = self.u32()
        if v8 is not None and number > v8:
            beyond(f"it declares {number} {what}, more than the {v8} that V8 takes")
        if number > most:
            not_read(f"it declares {number} {what}, more than the {most} that are read")
        return number

    def name(self) -> str:
        length = self.u32()
        if length > MAX_NAME_BYTES:
            not_read(f"a name in {self.where} is {length} bytes long")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            malformed(f"a name in {self.where} is not UTF-8")

    def part(self, length: int, where: str) -> Cursor:
        start = self.skip(length)
        return Cursor(self.data, start, self.at, where)

    def close(self) -> None:
        if not self.done():
            malformed(f"{self.where} has {self.end - self.at} bytes too many")
