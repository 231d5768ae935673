"""What is known of a module. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pluginrelease.core.wasm.instructions import Feature

ABI_PREFIX = "proxy_abi_version_"
# the custom section that Higress's agent searches for (higress-group/istio, pkg/wasm/convert.go)
NATIVE_PREFIX = "wamr-aot"


class ExternKind(StrEnum):
    """What an import or an export is."""

    FUNCTION = "function"
    TABLE = "table"
    MEMORY = "memory"
    GLOBAL = "global"
    TAG = "tag"


@dataclass(frozen=True)
class FunctionType:
    """Value types in and out, by their names in the text format: ``i32``, ``funcref``, ``(ref null $3)`` …"""

    params: tuple[str, ...] = ()
    results: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the type as Envoy's log writes it: ``i32 i32 -> i32``, ``void -> void``."""
        return f"{' '.join(self.params) or 'void'} -> {' '.join(self.results) or 'void'}"


@dataclass(frozen=True)
class Limits:
    """The size of a memory, in pages of ``page`` bytes, or of a table, in entries."""

    minimum: int = 0
    maximum: int | None = None
    shared: bool = False
    wide: bool = False  # addressed by i64
    page: int = 65_536


@dataclass(frozen=True)
class Table:
    """A table: the type of its entries and its size."""

    value: str
    limits: Limits


@dataclass(frozen=True)
class Import:
    """One import. ``type`` is a function's, ``value`` a global's or a table's, ``limits`` a memory's or a table's."""

    module: str
    name: str
    kind: ExternKind
    type: FunctionType | None = None
    value: str = ""
    limits: Limits | None = None

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Export:
    """One export: ``type`` is a function's, ``value`` a global's or a table's; ``index`` counts within its kind."""

    name: str
    kind: ExternKind
    type: FunctionType | None = None
    value: str = ""
    index: int = 0


@dataclass(frozen=True)
class StartSection:
    """What the start section runs while the module is instantiated.

    ``certain``: the imports that are called before any branch. ``possible``: all imports that some path can call.
    ``traps``: the first certain step is a trap. ``whole``: all that it reaches was read.
    """

    certain: tuple[Import, ...] = ()
    possible: tuple[Import, ...] = ()
    traps: bool = False
    whole: bool = True


@dataclass(frozen=True)
class OutOfBounds:
    """An active segment that does not fit: ``kind`` ("data" or "element") and its number.

    It would fill ``length`` bytes or entries from ``offset`` on, of a memory or table that has ``size`` of them.
    """

    kind: str
    number: int
    offset: int
    length: int
    size: int


@dataclass(frozen=True)
class Module:
    """What a module says of itself. ``size`` and ``largest_body``, the longest function's code, are in bytes.

    ``memories`` and ``tables`` begin with the imported ones. ``entry_calls``: the imports that are called before any
    branch by what a gateway calls first (``_initialize`` and ``main``, or else ``_start``). ``beyond`` says which of
    V8's limits the code exceeds. ``code_read`` is False if there is more code than is read, or unknown code.
    """

    imports: tuple[Import, ...]
    exports: tuple[Export, ...]
    custom_sections: tuple[str, ...]
    toolchain: str
    toolchain_version: str
    size: int
    memories: tuple[Limits, ...] = ()
    tables: tuple[Table, ...] = ()
    start: StartSection | None = None
    entry_calls: tuple[Import, ...] = ()
    features: frozenset[Feature] = frozenset()
    misplaced: tuple[OutOfBounds, ...] = ()
    beyond: tuple[str, ...] = ()
    largest_body: int = 0
    code_read: bool = True

    @property
    def abis(self) -> tuple[str, ...]:
        """Return the Proxy-Wasm ABI versions that function exports announce, in order: ``("0_2_1",)``."""
        return tuple(
            export.name.removeprefix(ABI_PREFIX)
            for export in self.exports
            if export.kind is ExternKind.FUNCTION and export.name.startswith(ABI_PREFIX)
        )

    @property
    def abi(self) -> str:
        """Return the first announced ABI version, or an empty string."""
        return next(iter(self.abis), "")

    @property
    def native(self) -> str:
        """Return the custom section with native code that Higress would run instead of the module; else ""."""
        return next((name for name in self.custom_sections if name.startswith(NATIVE_PREFIX)), "")

    def function(self, name: str) -> FunctionType | None:
        """Return the type of the exported function ``name``; None if there is none."""
        return next((e.type for e in self.exports if e.kind is ExternKind.FUNCTION and e.name == name), None)
