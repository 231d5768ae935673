"""What a lab could leave on the machine: looked at before and after."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pluginrelease_lab.node import mounts

FOLDERS = (
    *("/run", "/run/netns", "/run/containerd", "/var/lib", "/var/lib/cni", "/var/lib/kubelet", "/var/lib/containerd"),
    *(
        "/var/log",
        "/var/log/pods",
        "/var/log/containers",
        "/opt",
        "/etc/cni",
        "/etc/cni/net.d",
        "/etc/containerd",
    ),
)
"""Where containerd, the kubelet, CNI and buildah have their files by default."""


def of_the_machine() -> dict[str, object]:
    """Mounts, cgroups, network interfaces, rules of iptables, settings of the kernel, and folders."""
    return {
        "mounts": sorted(line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()),
        "cgroups": sorted(str(found) for found in Path("/sys/fs/cgroup").glob("**/*pluginrelease-lab*")),
        "interfaces": sorted(os.listdir("/sys/class/net")),
        "iptables": rules(),
        "kernel": {name: Path(f"/proc/sys/{name}").read_text() for name in (*mounts.KERNEL_SETTINGS, _FORWARDING)},
        "folders": {folder: entries(folder) for folder in FOLDERS},
    }


_FORWARDING = "net/ipv4/ip_forward"


def rules() -> list[str]:
    """The rules and chains, without counters and times."""
    said = subprocess.run(["iptables-save"], capture_output=True, text=True, timeout=30, check=True).stdout
    return [line.split(" [")[0] for line in said.splitlines() if not line.startswith("#")]


def entries(folder: str) -> list[str]:
    """The names in a folder; none when there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def processes_in(folder: Path) -> list[str]:
    """Command lines of processes that have the folder in them or are in it."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes()
            if os.fsencode(folder) in words + os.fsencode((process / "cwd").readlink()):
                found.append(words.replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # no process, or it has just ended
    return found
