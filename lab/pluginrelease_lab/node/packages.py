"""What a real node needs of the system's own packages, and the command that installs it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from pluginrelease_lab.errors import LabError

CNI_PLUGINS = Path("/usr/lib/cni")
RUNTIME = {
    "containerd": ("containerd", "ctr", "containerd-shim-runc-v2"),
    "runc": ("runc",),
    "containernetworking-plugins": tuple(str(CNI_PLUGINS / name) for name in ("bridge", "host-local", "loopback")),
    "iptables": ("iptables", "iptables-save", "iptables-restore"),
}
"""Packages of Debian, and the programs of each that the node starts."""
IMAGES = {"buildah": ("buildah",), "debootstrap": ("debootstrap",)}
"""What building images takes besides."""

Find = Callable[[str], str | None]


def missing(wanted: dict[str, tuple[str, ...]], find: Find = shutil.which) -> list[str]:
    """The packages of which a program is not there."""
    return [package for package, programs in wanted.items() if not all(find(program) for program in programs)]


def install_command(packages: list[str]) -> str:
    """One line for a shell; it needs root."""
    return f"apt-get update && apt-get install --yes --no-install-recommends {' '.join(packages)}"


def require(wanted: dict[str, tuple[str, ...]], purpose: str) -> None:
    """Raise LabError with the remedy when ``purpose`` is not possible on this machine."""
    if os.geteuid() != 0:
        raise LabError(f"{purpose} needs root: cgroups and mounts are the system's; run this command as root")
    if packages := missing(wanted):
        raise LabError(
            f"{purpose} needs {', '.join(packages)}, which this machine does not have: {install_command(packages)}"
        )


def main(arguments: list[str]) -> int:
    """Say what is missing on this machine, and how to get it; with ``--install`` get it. 1 when something is."""
    everything = {**RUNTIME, **IMAGES}
    if packages := missing(everything):
        if arguments != ["--install"]:
            print(f"a real node needs {', '.join(packages)}: `make node-packages`, or {install_command(packages)}")
            return 1
        subprocess.run(["/bin/sh", "-c", install_command(packages)], check=True)
    return 0 if not missing(everything) else 1
