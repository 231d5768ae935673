"""Registries as an administrator names them, and the flags of the operator that do."""

from __future__ import annotations

import click
import pytest

from pluginrelease.cli import run as run_command
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import Refused
from pluginrelease.core.registry import allowlist
from pluginrelease.settings import Settings

PLUGIN = image_manifests.parse("registry.example.com/team/plugin:1")
HUB = image_manifests.parse("plugin:1")


@pytest.mark.parametrize(
    ("name", "reference", "covered"),
    [
        ("registry.example.com", PLUGIN, True),
        ("registry.example.com/", PLUGIN, True),
        ("registry.example.com/team", PLUGIN, True),
        ("registry.example.com/team/plugin", PLUGIN, True),
        ("registry.example.com/te", PLUGIN, False),  # a part of a word
        ("registry.example.com/team/plugin/more", PLUGIN, False),
        ("registry.example.com.evil.example", PLUGIN, False),
        ("example.com", PLUGIN, False),
        ("registry.example.com:5000", PLUGIN, False),  # another port is another registry
        ("docker.io", HUB, True),
        ("index.docker.io/library", HUB, True),
        ("", PLUGIN, False),
    ],
)
def test_covers(name: str, reference: image_manifests.Reference, covered: bool) -> None:
    """A name stands for a registry, or for all below whole parts of a path."""
    assert allowlist.covers(name, reference) is covered


def test_check() -> None:
    """Without a list all are allowed; with one, those on it, and the message names them."""
    allowlist.check((), PLUGIN)
    allowlist.check(("ghcr.io", "registry.example.com/team"), PLUGIN)
    with pytest.raises(Refused, match=r"ghcr.io/a, docker.io") as refused:
        allowlist.check(("ghcr.io/a", "docker.io"), PLUGIN)
    assert refused.value.reason == "RegistryNotAllowed"


def test_private_realms() -> None:
    """Only registries that are named may send the operator to private addresses, or all with the old flag."""
    assert not Settings().private_realms_of(PLUGIN)
    assert Settings(private_realms=("registry.example.com/team",)).private_realms_of(PLUGIN)
    assert not Settings(private_realms=("registry.example.com/team",)).private_realms_of(HUB)
    assert Settings(allow_private_realms=True).private_realms_of(HUB)


@pytest.mark.parametrize(
    "flag",
    [
        "--cache-size=1",
        "--cache-size=511Mi",
        "--cache-size=1GB",
        "--cache-size=-1Gi",
        "--allowed-registries=https://ghcr.io",
        "--allowed-registries=ghcr.io,docker.io",
        "--private-realms-of=",
    ],
)
def test_flags_that_are_refused(flag: str) -> None:
    """A setting that would not do what was meant is refused at the start."""
    with pytest.raises(click.BadParameter):
        run_command.run.make_context("run", [flag])


def test_sizes() -> None:
    """Sizes are written as Kubernetes writes them."""
    with run_command.run.make_context("run", ["--cache-size=2Gi"]) as context:
        assert context.params["cache_size"] == 2 * 1024**3
