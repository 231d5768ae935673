"""The system packages that a real node needs, and the command that installs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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
"""Debian packages, and the programs of each that the node starts."""
IMAGES = {"buildah": ("buildah",), "debootstrap": ("debootstrap",)}
"""Packages that only the build of images needs."""
# a mirror may fail once, or another apt may run; apt must ask no questions
_APT = "DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120"

Find = Callable[[str], str | None]


def missing(wanted: dict[str, tuple[str, ...]], find: Find = shutil.which) -> list[str]:
    """Return the packages of which a program is missing."""
    return [package for package, programs in wanted.items() if not all(find(program) for program in programs)]


def install_command(packages: list[str]) -> str:
    """Return one line for a root shell. It names no versions: the machine's mirror decides."""
    return f"{_APT} update && {_APT} install --yes --no-install-recommends {' '.join(packages)}"


def require(wanted: dict[str, tuple[str, ...]], purpose: str) -> None:
    """Raise LabError with the remedy if ``purpose`` is not possible on this machine."""
    require_root(purpose)
    if packages := missing(wanted):
        raise LabError(
            f"{purpose} needs {', '.join(packages)}, which this machine does not have: {install_command(packages)}"
        )


def require_root(purpose: str) -> None:
    """Raise LabError if the user is not root: cgroups and mounts need it."""
    if os.geteuid() != 0:
        raise LabError(f"{purpose} needs root: cgroups and mounts are the system's; run this command as root")


def install(packages: list[str]) -> None:
    """Install packages with the system's package manager. Raises LabError with a remedy."""
    require_root("installing packages")
    if shutil.which("apt-get") is None:
        raise LabError(f"there is no apt-get: install {', '.join(packages)} by this system's package manager")
    command = install_command(packages)
    if subprocess.run(["/bin/sh", "-c", command], check=False).returncode != 0:
        raise LabError(f"{', '.join(packages)} could not be installed; the reason is above. As root: {command}")
    if left := missing({**RUNTIME, **IMAGES}):
        raise LabError(f"{', '.join(left)} is installed, and its programs are not where they are expected")


def main(arguments: list[str]) -> int:
    """Print what this machine lacks and the command to install it; with ``--install`` run it.

    Return 1 if something lacks.
    """
    try:
        if arguments == ["--install"] and (packages := missing({**RUNTIME, **IMAGES})):
            install(packages)
        require({**RUNTIME, **IMAGES}, "a real node")
    except LabError as error:
        print(f"{error} (in a checkout: sudo make node-packages)", file=sys.stderr)
        return 1
    return 0
