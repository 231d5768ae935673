"""The node's own cgroup: create it in every hierarchy; a process outside the lab removes it when the lab has ended."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import select
import time
from collections.abc import Iterator
from pathlib import Path

from pluginrelease_lab.errors import LabError

REMOVED_WITHIN = 20.0
"""Seconds that the kernel may take to end the processes in them."""
_MOUNTS = Path("/proc/mounts")
_INHERITED = ("cpuset.cpus", "cpuset.mems")
"""Files of a new cpuset that are empty: no process can run in it until they are set."""


def family(state: Path) -> str:
    """Return the prefix of the names of all cgroups of one state directory's labs."""
    return f"pluginrelease-lab-{hashlib.sha256(os.fsencode(state)).hexdigest()[:8]}"


def new_name(state: Path) -> str:
    """Return a name that no other lab and no earlier run has."""
    return f"{family(state)}-{secrets.token_hex(3)}"


def hierarchies(mounts: str) -> list[tuple[Path, str]]:
    """Return (mount point, cgroup or cgroup2) of each hierarchy, from the text of /proc/mounts."""
    rows = [line.split() for line in mounts.splitlines()]
    return [(Path(row[1]), row[2]) for row in rows if len(row) > 2 and row[2] in {"cgroup", "cgroup2"}]


def make(name: str) -> None:
    """Create the cgroup in each hierarchy of version 1, or in that of version 2 if there is no other."""
    every = hierarchies(_MOUNTS.read_text())
    older = [place for place, version in every if version == "cgroup"]
    for place in older or [place for place, _ in every]:
        (place / name).mkdir(exist_ok=True)
        for setting in _INHERITED if older else ():
            if (place / setting).exists():
                (place / name / setting).write_text((place / setting).read_text())


def remains(prefix: str) -> list[Path]:
    """Return the cgroups whose name begins with ``prefix``."""
    return [found for place, _ in hierarchies(_MOUNTS.read_text()) for found in sorted(place.glob(f"{prefix}*"))]


def remove(prefix: str, within: float = REMOVED_WITHIN) -> None:
    """Remove the cgroups whose name begins with ``prefix``. Raises LabError if a process stays in one."""
    deadline = time.monotonic() + within
    while there := remains(prefix):
        for cgroup in there:
            _remove_tree(cgroup)
        if time.monotonic() > deadline:
            raise LabError(f"processes stay in the cgroup {there[0]}: end them, then run `pluginrelease lab down`")
        time.sleep(0.05)


def _remove_tree(cgroup: Path) -> None:
    """Remove bottom-up the cgroups without processes."""
    for folder in _depth_first(cgroup):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _depth_first(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                yield from _depth_first(Path(entry.path))
    yield folder


def leave_sweeper(name: str, descriptors: list[int]) -> None:
    """Start the process that removes the cgroup ``name`` when the calling process has ended, also after a crash.

    ``descriptors`` belong to the caller; no other process may hold them open.
    """
    caller = os.pidfd_open(os.getpid())
    if os.fork() == 0:
        try:
            os.setsid()
            for descriptor in descriptors:
                os.close(descriptor)
            watched = select.poll()
            watched.register(caller, select.POLLIN)
            watched.poll()
            remove(name)
        finally:
            os._exit(0)
    os.close(caller)
