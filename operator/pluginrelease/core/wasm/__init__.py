"""A WebAssembly module, as far as it can be known without running it.

`read` walks the sections of the binary format (https://webassembly.github.io/spec/core/binary/modules.html) and gives a
`Module`: what it imports and exports, with the types that Envoy compares when it links, its memories and tables, which
functions its start section reaches, which features of the language it needs, the Proxy-Wasm ABI versions that it
announces, and the toolchain that made it. Nothing is compiled and nothing runs.

The bytes come from a stranger: every count has a cap, every read is checked against its section, and the only
exception that leaves this package is `Refused`.
"""

from pluginrelease.core.wasm.cursor import Bytes
from pluginrelease.core.wasm.instructions import Feature
from pluginrelease.core.wasm.module import (
    ABI_PREFIX,
    Export,
    ExternKind,
    FunctionType,
    Import,
    Limits,
    Module,
    OutOfBounds,
    StartSection,
    Table,
)
from pluginrelease.core.wasm.reader import (
    COMPONENT_VERSION,
    CORE_VERSION,
    MAGIC,
    MAX_CUSTOM_SECTIONS,
    MAX_EXPORTS,
    MAX_FUNCTIONS,
    MAX_IMPORTS,
    read,
)
from pluginrelease.core.wasm.renaming import rename_export
from pluginrelease.core.wasm.types import MAX_TYPES

__all__ = [
    "ABI_PREFIX",
    "COMPONENT_VERSION",
    "CORE_VERSION",
    "MAGIC",
    "MAX_CUSTOM_SECTIONS",
    "MAX_EXPORTS",
    "MAX_FUNCTIONS",
    "MAX_IMPORTS",
    "MAX_TYPES",
    "Bytes",
    "Export",
    "ExternKind",
    "Feature",
    "FunctionType",
    "Import",
    "Limits",
    "Module",
    "OutOfBounds",
    "StartSection",
    "Table",
    "read",
    "rename_export",
]
