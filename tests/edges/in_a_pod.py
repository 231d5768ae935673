"""Become what a container is. Arguments: the ServiceAccount's folder, a UID without a name, and a command line.

Run inside a lab's network, as whoever started the lab. The command gets the environment that the kubelet gives every
container, and the HOME that runc sets where an image has none.
"""

from __future__ import annotations

import os
import sys

from pluginrelease_lab import namespaces, network
from pluginrelease_lab.controlplane import API_PORT

PLACE = "/run/secrets/kubernetes.io/serviceaccount"


def become(folder: str, uid: int) -> None:
    """Show the folder where the kubelet mounts it, and give up the user's name."""
    namespaces.unshare(namespaces.NEW_MOUNTS)
    namespaces.keep_mounts_private()
    namespaces.make_directory_visible(PLACE, "/run")
    namespaces.bind(folder, PLACE)
    user, group = os.geteuid(), os.getegid()
    namespaces.unshare(namespaces.NEW_USER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {user} 1"), ("gid_map", f"{uid} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


if __name__ == "__main__":
    become(sys.argv[1], int(sys.argv[2]))
    server = {"KUBERNETES_SERVICE_HOST": network.ADDRESS, "KUBERNETES_SERVICE_PORT": str(API_PORT)}
    os.execve(sys.argv[3], sys.argv[3:], {**server, "HOME": "/"})  # noqa: S606  becoming the program is the purpose
