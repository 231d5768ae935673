"""A WebAssembly module, as far as it can be known without running it.

`read` reads the sections of the binary format (https://webassembly.github.io/spec/core/binary/modules.html) and returns
a `Module`:

* its imports and exports, with the types that Envoy compares when it links
* its memories and tables, and the functions that its start section reaches
* the language features that it needs, its Proxy-Wasm ABI versions, and its toolchain

Nothing is compiled or run.

The bytes may come from a stranger. Every count has a limit, every read is checked against its section, and the only
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
