"""A substitute for the image python:3.x-slim if it cannot be pulled, made from Debian packages.

It differs from Docker's image in the version and build of Python. It contains this machine's CA certificates and pip's
settings, so that builds use the same package index as the machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from pluginrelease_lab.errors import LabError
from pluginrelease_lab.images.buildah import Buildah
from pluginrelease_lab.processes import Argv

REFERENCE = "localhost/pluginrelease-lab/python:3.13-slim"
_SUITE = "trixie"
_PACKAGES = "python3,python3-venv,ca-certificates"
_SECONDS = 900.0
_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_AUTHORITIES = "etc/ssl/certs/ca-certificates.crt"
_NOT_NEEDED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
"""What a slim image lacks."""

Report = Callable[[str], None]


def ensure(buildah: Buildah, report: Report) -> str:
    """Return the name of the substitute, and build it if it is missing. Raises LabError."""
    if not buildah.has(REFERENCE):
        report(f"making a stand-in for python:3.13-slim from packages of Debian {_SUITE} …")
        with tempfile.TemporaryDirectory(prefix="pluginrelease-base-", dir=buildah.folder) as scratch:
            root = Path(scratch) / "root"
            _bootstrap(root)
            _trust_as_this_machine(root)
            _commit(buildah, root)
    return REFERENCE


def _bootstrap(root: Path) -> None:
    argv: Argv = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, root, *_mirror()]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise LabError(f"debootstrap: no end after {_SECONDS:.0f} s") from None
    if done.returncode != 0:
        raise LabError(f"debootstrap failed: {(done.stderr or done.stdout).strip()[-500:]}")
    for folder in _NOT_NEEDED:
        shutil.rmtree(root / folder, ignore_errors=True)


def _mirror() -> list[str]:
    """Return this machine's Debian mirror, or debootstrap's default."""
    argv = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"]
    found = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False).stdout.splitlines()
    return [uri for uri in found if uri.endswith("/debian/")][:1]


def _trust_as_this_machine(root: Path) -> None:
    trusted = Path(os.environ.get("SSL_CERT_FILE") or f"/{_AUTHORITIES}")
    shutil.copyfile(trusted, root / _AUTHORITIES)
    settings = Path("/etc/pip.conf")
    own = settings.read_text() if settings.exists() else "[global]\n"
    if "cert" not in own:
        own += f"cert = /{_AUTHORITIES}\n"
    (root / "etc/pip.conf").write_text(own)


def _commit(buildah: Buildah, root: Path) -> None:
    container = buildah.run("from", "scratch")
    try:
        buildah.run("add", "--quiet", container, root, "/")
        buildah.run("config", "--env", f"PATH={_PATH}", container)
        buildah.run("commit", "--quiet", "--disable-compression", container, REFERENCE)
    finally:
        buildah.run("rm", container)
