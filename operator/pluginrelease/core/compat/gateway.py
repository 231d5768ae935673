"""All target gateways together, as one."""

from __future__ import annotations

from dataclasses import dataclass

from pluginrelease.core.compat.functions import BY_ABI, HIGRESS_ONLY, OTHER, PROXY, WASI, WASI_MODULES, HostFunction
from pluginrelease.core.compat.hosts import ALWAYS, Higress, Host
from pluginrelease.core.wasm import ExternKind, Import

ACCEPTED_ABIS = ("0_1_0", "0_2_0", "0_2_1")
# higress-group/proxy-wasm-cpp-host, src/bytecode_util.cc; its host functions are those of 0.2.1
HIGRESS_ABI = "0_2_100"
HIGRESS_ABI_SINCE = (2, 1, 0)  # in its Proxy-Wasm host since 2025-04


@dataclass(frozen=True)
class TargetGateway:
    """All target gateways as one: the strictest counts. ``hosts`` may be empty if nothing is known yet.

    ``allow_native``: the owner of the gateways allows native code in modules.
    """

    hosts: tuple[Host, ...]
    provider: str
    allow_native: bool = False

    @property
    def is_higress(self) -> bool:
        return bool(self.hosts) and all(isinstance(host, Higress) for host in self.hosts)

    @property
    def runs_native(self) -> bool:
        """Return True if some gateway runs native code in a module, as Higress does."""
        return self.provider == "Higress" or any(isinstance(host, Higress) for host in self.hosts)

    @property
    def abis(self) -> tuple[str, ...]:
        older = any(
            isinstance(host, Higress) and host.release and host.release < HIGRESS_ABI_SINCE for host in self.hosts
        )
        return (*ACCEPTED_ABIS, HIGRESS_ABI) if self.is_higress and not older else ACCEPTED_ABIS

    @property
    def name(self) -> str:
        """Return the name for messages: ``Envoy 1.38.0, 1.40.0``; ``Higress 2.2``; ``Envoy`` if no version is known."""
        listed = ", ".join(dict.fromkeys(str(host) for host in self.hosts))
        return f"{'Higress' if self.is_higress else 'Envoy'} {listed}".rstrip()

    def find(self, wanted: Import, abi: str) -> HostFunction | None:
        if wanted.kind is not ExternKind.FUNCTION:
            return None
        if wanted.module in WASI_MODULES:
            return WASI.get(wanted.name)
        if wanted.module != "env":
            return None
        own = HIGRESS_ONLY if self.is_higress else {}
        tables = (PROXY, BY_ABI["0_2_1" if abi == HIGRESS_ABI else abi], OTHER, own)
        return next((table[wanted.name] for table in tables if wanted.name in table), None)

    def lacks(self, known: HostFunction | None) -> bool | None:
        """Return True if some gateway surely lacks the function, False if all have it, None if it is not known."""
        if known is None:
            return None if self.hosts and all(host.is_newer for host in self.hosts) else True
        answers = [known.within(host) for host in self.hosts] or [known.since == ALWAYS or None]
        if False in answers:
            return True
        return None if None in answers else False
