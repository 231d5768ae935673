"""Linux namespaces by their system calls, and a launcher that starts a program inside them.

Python 3.11 has no ``os.unshare`` and ``os.setns``, so the C library is called. The module needs only the standard
library, because it is also run by its path (`launch`) to put a program into a lab's namespaces. A new process must do
that: only a process with one thread may enter a user namespace.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Sequence

NEW_MOUNTS = 0x00020000
NEW_USER = 0x10000000
NEW_PROCESSES = 0x20000000
NEW_NETWORK = 0x40000000

_MOUNT_BIND = 0x1000
_MOUNT_RECURSIVE = 0x4000
_MOUNT_PRIVATE = 1 << 18
_PARENT_DEATH_SIGNAL = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(kinds: int) -> None:
    """Give the calling thread its own namespaces. Raises OSError if the kernel forbids it."""
    _checked(_libc.unshare(kinds), "unshare")


def join(namespace: str | int) -> None:
    """Move the calling thread into a namespace, given as a path below /proc or as an open file descriptor."""
    descriptor = os.open(namespace, os.O_RDONLY) if isinstance(namespace, str) else namespace
    try:
        _checked(_libc.setns(descriptor, 0), "setns")
    finally:
        if isinstance(namespace, str):
            os.close(descriptor)


def die_with_parent() -> None:
    """Let the kernel send SIGKILL to this process when the thread that started it ends."""
    _checked(_libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0), "prctl")


def become_root_inside() -> None:
    """Enter a new user namespace in which the calling user is root. Raises OSError if that is forbidden."""
    user, group = os.geteuid(), os.getegid()
    unshare(NEW_USER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def keep_mounts_private() -> None:
    """Show later mounts only in this mount namespace."""
    _mount("none", "/", None, _MOUNT_RECURSIVE | _MOUNT_PRIVATE)


def bind(source: str, target: str) -> None:
    """Show the directory or file ``source`` at ``target`` as well."""
    _mount(source, target, None, _MOUNT_BIND | _MOUNT_RECURSIVE)


def make_directory_visible(path: str, below: str) -> None:
    """Make the empty directory ``path`` appear inside the system directory ``below`` without a write to the disk."""
    if not os.path.isdir(path):
        cover(below)
        os.makedirs(path, exist_ok=True)


def cover(below: str) -> None:
    """Mount an empty directory in memory over ``below``, and show its former content in it.

    New entries never reach the disk, and an ordinary user can create them.
    """
    covered = os.open(below, os.O_RDONLY | os.O_DIRECTORY)
    try:
        entries = [entry for entry in os.scandir(covered) if not entry.is_symlink()]
        links = {
            entry.name: os.readlink(entry.name, dir_fd=covered) for entry in os.scandir(covered) if entry.is_symlink()
        }
        mount_in_memory(below)
        for entry in entries:
            _show_again(f"/proc/self/fd/{covered}/{entry.name}", os.path.join(below, entry.name), entry.is_dir())
        for name, target in links.items():
            os.symlink(target, os.path.join(below, name))
    finally:
        os.close(covered)


def mount_in_memory(path: str) -> None:
    """Mount an empty directory in memory over ``path``."""
    _mount("tmpfs", path, "tmpfs", 0)


def mount_processes() -> None:
    """Mount ``/proc`` for the caller's own process namespace."""
    _mount("proc", "/proc", "proc", 0)


def _show_again(source: str, target: str, is_directory: bool) -> None:
    if is_directory:
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
    bind(source, target)


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    result = _libc.mount(
        os.fsencode(source), os.fsencode(target), kind.encode() if kind else None, ctypes.c_ulong(flags), None
    )
    _checked(result, f"mount {target}")


def launcher(
    argv: Sequence[str | os.PathLike[str]],
    *,
    namespaces: Sequence[str | int] = (),
    bound: tuple[str, str] | None = None,
    parent: int | None = None,
) -> list[str]:
    """Return the command line that runs ``argv`` inside ``namespaces``.

    A user namespace must come first. ``bound`` is (source, target) of a directory that only this program sees. With
    ``parent`` (a process id) the program ends when its parent does.
    """
    order = json.dumps({"namespaces": list(namespaces), "bound": bound, "parent": parent})
    return [sys.executable, "-I", "-S", __file__, order, *(os.fspath(part) for part in argv)]


def launch(order: str, argv: Sequence[str]) -> None:
    """Do what `launcher` describes in this process, and become the program."""
    wanted = json.loads(order)
    for namespace in wanted["namespaces"]:
        join(namespace)
        if isinstance(namespace, int):
            os.close(namespace)
    if wanted["bound"]:
        unshare(NEW_MOUNTS)
        keep_mounts_private()
        bind(*wanted["bound"])
    if wanted["parent"]:
        die_with_parent()
        if os.getppid() != wanted["parent"]:
            return
    os.execvp(argv[0], list(argv))  # noqa: S606 - becoming the program is the purpose


if __name__ == "__main__":
    try:
        launch(sys.argv[1], sys.argv[2:])
    except OSError as failure:
        sys.exit(f"{sys.argv[2]}: {failure}")
