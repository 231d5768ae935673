"""Folders in memory at the fixed paths that the node's programs use; only this lab sees them."""

from __future__ import annotations

import os
from pathlib import Path

from pluginrelease_lab import namespaces

CONTAINERD_STATE = Path("/run/containerd")
CONTAINERD_ROOT = Path("/var/lib/containerd")
CONFIGURATION = Path("/run/pluginrelease-node")
KUBELET_ROOT = Path("/var/lib/kubelet")
_OWN = (
    *(CONTAINERD_STATE, CONTAINERD_ROOT, CONFIGURATION, KUBELET_ROOT),
    *(Path("/run/netns"), Path("/var/lib/cni"), Path("/var/log/containers")),
)
KERNEL_SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}
"""Settings that the kubelet changes for the whole machine. The lab pretends that they already have these values."""


def prepare() -> None:
    """Prepare the mounts, in the lab's first mount and process namespaces and before any program of the node starts."""
    namespaces.mount_processes()
    for folder in ("/run", "/var/lib", "/var/log"):
        namespaces.cover(folder)
    for own in _OWN:
        own.mkdir(parents=True, exist_ok=True)
        namespaces.mount_in_memory(str(own))
    for setting, value in KERNEL_SETTINGS.items():
        _show(setting, value)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")


def _show(setting: str, value: int) -> None:
    """Let the kernel's setting read as ``value`` in this lab. A write to it does not change the machine."""
    shown = CONFIGURATION / setting.replace("/", ".")
    shown.write_text(f"{value}\n")
    if os.path.exists(f"/proc/sys/{setting}"):
        namespaces.bind(str(shown), f"/proc/sys/{setting}")
