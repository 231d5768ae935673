"""Make the node a part of the lab: start it with the lab, register it, and keep kwok away from it."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from pluginrelease_lab import controlplane
from pluginrelease_lab.blueprint import Blueprint
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.kubeapi import ApiError, KubeApi
from pluginrelease_lab.node import archives, configuration, parts

IMPORT_SECONDS = 240.0
"""Seconds for all images together: each one is unpacked."""


async def import_images(lab: Blueprint) -> None:
    """Import the image that every pod needs, and the images given to the lab. Raises LabError."""
    pause = lab.run / "pause.tar"
    await asyncio.to_thread(archives.write_single_program, lab.programs["lab-pause"], configuration.PAUSE_IMAGE, pause)
    for archive in (pause, *lab.images):
        await asyncio.to_thread(_import, archive)


def _import(archive: Path) -> None:
    argv = parts.ctr("images", "import", str(archive))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False)
    if done.returncode != 0:
        raise LabError(f"containerd does not take {archive}: {done.stderr.strip()}")


async def wait_until_ready(api: KubeApi) -> None:
    """Wait until the kubelet has registered its node and reports it ready. The caller sets a deadline."""
    while True:
        try:
            if controlplane.is_ready(await api.get(f"/api/v1/nodes/{configuration.NAME}")):
                return
        except ApiError as error:
            if error.status != 404:
                raise
        await asyncio.sleep(0.1)
