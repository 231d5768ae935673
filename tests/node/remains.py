"""What a lab could leave on the machine: looked at before and after."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pluginrelease_lab.node import cgroups, mounts

FOLDERS = {
    "/run": ("netns", "containerd", "runc", "containers", "buildah", "cni", "pluginrelease-node", "xtables.lock"),
    "/var/lib": ("cni", "kubelet", "containerd", "containers", "kube-proxy"),
    "/var/log": ("pods", "containers"),
    "/opt": ("cni", "containerd"),
    "/etc": ("cni", "containerd", "kubernetes"),
}
"""Where containerd, runc, the kubelet, CNI and buildah have their files by default: by folder the names in it."""


def of_the_machine(labs: Path) -> dict[str, object]:
    """Mounts, cgroups of the labs that are in this folder, network interfaces, rules of iptables, settings of the
    kernel, and files at the usual paths of the node's programs."""
    return {
        "mounts": sorted(line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()),
        "cgroups": [str(found) for lab in entries(labs) for found in cgroups.remains(cgroups.family(labs / lab))],
        "interfaces": sorted(os.listdir("/sys/class/net")),
        "iptables": rules(),
        "kernel": {name: Path(f"/proc/sys/{name}").read_text() for name in (*mounts.KERNEL_SETTINGS, _FORWARDING)},
        "files": {
            f"{folder}/{name}": entries(Path(folder) / name)
            for folder, names in FOLDERS.items()
            for name in names
            if os.path.lexists(f"{folder}/{name}")
        },
    }


_FORWARDING = "net/ipv4/ip_forward"


def rules() -> list[str]:
    """The rules and chains, without counters and times."""
    said = subprocess.run(["iptables-save"], capture_output=True, text=True, timeout=30, check=True).stdout
    return [line.split(" [")[0] for line in said.splitlines() if not line.startswith("#")]


def entries(folder: Path) -> list[str]:
    """The names in a folder; none when there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def processes_in(folder: Path) -> list[str]:
    """Command lines of processes that have the folder in them or are in it. A process that is ending has given its
    memory back already and has none: for a moment the kernel still shows its folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes()
            if words and os.fsencode(folder) in words + os.fsencode((process / "cwd").readlink()):
                found.append(words.replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # no process, or it has just ended
    return found
