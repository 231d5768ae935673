"""What a lab with a real node decides before anything of it runs: names, packages, configuration, pods."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
import yaml

import pluginrelease_lab as labs
from pluginrelease_lab import gateways, network
from pluginrelease_lab.controlplane import MANIFESTS, NODE
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.kubeapi import Object, read_manifests
from pluginrelease_lab.node import archives, cgroups, configuration, mounts, packages
from pluginrelease_lab.node import gateways as node_gateways

VERSION_1 = """tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
"""
VERSION_2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"


@pytest.mark.parametrize(
    ("mounted", "found"),
    [
        pytest.param(VERSION_1, {"/sys/fs/cgroup/cpu": "cgroup", "/sys/fs/cgroup/unified": "cgroup2"}, id="hybrid"),
        pytest.param(VERSION_2, {"/sys/fs/cgroup": "cgroup2"}, id="version 2"),
        pytest.param("proc /proc proc rw 0 0\n", {}, id="none"),
        pytest.param("odd\n", {}, id="a line that is none"),
    ],
)
def test_the_hierarchies_of_cgroups_are_read_from_the_mounts(mounted: str, found: dict[str, str]) -> None:
    """Each hierarchy and its version, and nothing else that is mounted there."""
    assert {str(place): version for place, version in cgroups.hierarchies(mounted)} == found


def test_each_start_of_a_lab_has_a_cgroup_of_its_own() -> None:
    """What an earlier start left is known by the lab's state directory, and is never what the next one uses."""
    here, there = Path("/labs/one"), Path("/labs/two")
    first, second = cgroups.new_name(here), cgroups.new_name(here)
    assert first != second
    assert all(name.startswith(cgroups.family(here)) for name in (first, second))
    assert cgroups.family(here) != cgroups.family(there)


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        pytest.param({"containerd", "ctr", "runc"}, ["containerd"], id="one of three programs is missing"),
        pytest.param({"containerd", "ctr", "containerd-shim-runc-v2", "runc"}, [], id="all are there"),
        pytest.param(set(), ["containerd", "runc"], id="nothing is there"),
    ],
)
def test_a_package_is_missing_when_one_of_its_programs_is(there: set[str], missing: list[str]) -> None:
    """The names are those of packages, as the command that installs them takes them."""
    wanted = {name: packages.RUNTIME[name] for name in ("containerd", "runc")}
    assert packages.missing(wanted, lambda program: program if program in there else None) == missing


def test_what_is_missing_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is one line to copy into a shell."""
    monkeypatch.setattr(packages.os, "geteuid", lambda: 0)
    with pytest.raises(LabError, match=r"apt-get .* install --yes --no-install-recommends nowhere-to-be-found$"):
        packages.require({"nowhere-to-be-found": ("no-such-program",)}, "a test")


@pytest.mark.parametrize(
    ("user", "apt", "said"),
    [
        pytest.param(1000, "exit 0", "root", id="another user"),
        pytest.param(0, None, "apt-get", id="another system"),
        pytest.param(0, "exit 100", "As root: DEBIAN_FRONTEND=noninteractive apt-get", id="a mirror that fails"),
        pytest.param(0, "exit 0", "programs", id="programs elsewhere"),
    ],
)
def test_packages_that_cannot_be_had_fail_with_what_to_do(
    user: int,
    apt: str | None,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Nothing is skipped: the exit status is 1, and the line says what a person is to run."""
    monkeypatch.setattr(packages.os, "geteuid", lambda: user)
    monkeypatch.setenv("PATH", str(tmp_path))
    if apt is not None:
        (tmp_path / "apt-get").write_text(f"#!/bin/sh\n{apt}\n")
        (tmp_path / "apt-get").chmod(0o755)
    assert packages.main(["--install"]) == 1
    assert said in capfd.readouterr().err


def test_packages_are_asked_for_without_a_release() -> None:
    """A mirror has one release of each, and another one next week."""
    command = packages.install_command(["containerd", "runc"])
    assert command.endswith(" containerd runc")
    assert "=" not in command.rpartition("install")[2]


def test_without_root_a_node_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cgroups are the system's: there is no use in beginning."""
    monkeypatch.setattr(packages.os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs root"):
        packages.require({}, "a test")


def test_gateways_of_higress_on_the_node_are_refused() -> None:
    """There is no image for them, and a pod that waits for one would only be a time limit later."""
    with pytest.raises(LabError, match="--mesh istio"):
        labs.up("refused", mesh="higress", gateways_on_node=True)


def test_pods_get_addresses_that_nobody_else_hands_out() -> None:
    """Neither the lab's own gateways nor kwok's pods have one of the node's range, and all are of the lab's network."""
    [bridge] = json.loads(configuration.cni())["plugins"]
    [[pods]] = bridge["ipam"]["ranges"]
    assert bridge["bridge"] == network.BRIDGE
    assert pods["gateway"] == network.ADDRESS
    assert pods["subnet"] == "10.244.0.0/16"
    theirs = {network.pod_address(number) for number in range(126 * 256)}
    assert not {address for address in theirs if address.startswith("10.244.127.")}
    assert pods["rangeStart"].startswith("10.244.127.")
    assert network.SIMULATED_PODS == "10.244.128.0/17"


def test_the_kubelet_leaves_the_machines_settings_alone() -> None:
    """It changes none of the kernel's settings, and its pods are in the lab's cgroup."""
    said = yaml.safe_load(configuration.kubelet("lab-1", Path("/logs")))
    assert said["protectKernelDefaults"] is True
    assert said["cgroupRoot"] == "/lab-1"
    assert "vm/overcommit_memory" in mounts.KERNEL_SETTINGS


def lab_gateway() -> Object:
    """The Deployment of the lab's gateways."""
    [found] = [
        each for each in read_manifests((MANIFESTS / "gateways.yaml").read_text()) if each["kind"] == "Deployment"
    ]
    return found


def test_a_gateway_on_the_node_is_what_injection_makes_of_it() -> None:
    """It keeps its own image, ports, resources and variables, and gets what the agent needs to be itself."""
    before = lab_gateway()
    after = node_gateways.injected(before)
    old, new = (each["spec"]["template"]["spec"] for each in (before, after))
    assert old["nodeName"] == NODE
    assert "nodeName" not in new
    assert new["nodeSelector"] == {"kubernetes.io/hostname": configuration.NAME}
    [own], [proxy] = old["containers"], new["containers"]
    assert {name: proxy[name] for name in ("image", "ports", "resources")} == {
        name: own[name] for name in ("image", "ports", "resources")
    }
    variables = {each["name"]: each for each in proxy["env"]}
    assert len(variables) == len(proxy["env"])
    assert own["env"][0] in proxy["env"]
    assert variables["INSTANCE_IP"]["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"
    assert {each["name"] for each in proxy["volumeMounts"]} == {each["name"] for each in new["volumes"]}


@pytest.mark.parametrize(
    ("spec", "ours"),
    [
        pytest.param({}, True, id="no node yet"),
        pytest.param({"nodeName": NODE}, True, id="the simulated node"),
        pytest.param({"nodeName": "real-node"}, False, id="the real node"),
        pytest.param({"nodeSelector": {"kubernetes.io/hostname": "real-node"}}, False, id="meant for the real node"),
        pytest.param({"nodeSelector": {"kubernetes.io/hostname": NODE}}, True, id="meant for the simulated one"),
        pytest.param({"nodeSelector": {"disk": "ssd"}}, True, id="another selector"),
    ],
)
def test_the_lab_runs_only_gateways_that_are_not_for_another_node(spec: Object, ours: bool) -> None:
    """A gateway pod never gets two lives."""
    assert gateways.is_for_the_lab(spec) is ours


def test_an_image_of_one_program_has_it_and_nothing_else(tmp_path: Path) -> None:
    """The archive names the image, and its only layer has the program, which may be run."""
    program, archive = tmp_path / "program", tmp_path / "image.tar"
    program.write_bytes(b"#!\n")
    archives.write_single_program(program, "example.com/one:1", archive)
    with tarfile.open(archive) as tar:
        index, manifest = (json.load(tar.extractfile(name) or pytest.fail(name)) for name in documents(tar))
        layer = "blobs/" + manifest["layers"][0]["digest"].replace(":", "/")
        with tarfile.open(fileobj=tar.extractfile(layer)) as content:
            [entry] = content.getmembers()
    assert index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] == "example.com/one:1"
    assert (entry.name, entry.mode) == ("program", 0o755)


def documents(tar: tarfile.TarFile) -> list[str]:
    """The paths of the index and of the one manifest that it names."""
    index = json.load(tar.extractfile("index.json") or pytest.fail("no index"))
    return ["index.json", "blobs/" + index["manifests"][0]["digest"].replace(":", "/")]
