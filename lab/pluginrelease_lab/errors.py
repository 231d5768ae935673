"""Errors of a lab, in words for the user at the terminal."""

from __future__ import annotations

NAMESPACES_FORBIDDEN = (
    "this system does not allow an ordinary user to make a private network (user namespaces are off). "
    "Either run the lab as root, or allow it, whichever of these exists here: "
    "`sysctl -w kernel.unprivileged_userns_clone=1`, "
    "`sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, "
    "`sysctl -w user.max_user_namespaces=15000`; in a container: start it with `--privileged`"
)


class LabError(Exception):
    """The lab cannot do what was requested. The text says what was found and what to do."""
