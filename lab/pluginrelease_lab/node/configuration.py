"""The configuration of the node's programs, as text."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

import yaml

from pluginrelease_lab import network
from pluginrelease_lab.node import mounts
from pluginrelease_lab.node.packages import CNI_PLUGINS

NAME = "real-node"
PAUSE_IMAGE = "pluginrelease.io/lab/pause:1"
SOCKET = mounts.CONTAINERD_STATE / "containerd.sock"
CNI_FOLDER = mounts.CONFIGURATION / "cni"
FIRST_POD, LAST_POD = "10.244.127.1", "10.244.127.250"
"""Addresses of the node's pods: between those of the lab's own gateways and those of simulated pods."""


def containerd() -> str:
    """Return containerd's configuration. It has no registry to pull from: images are imported."""
    return f"""version = 2
root = "{mounts.CONTAINERD_ROOT}"
state = "{mounts.CONTAINERD_STATE}"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{mounts.CONTAINERD_ROOT}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{CNI_FOLDER}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""


def cni() -> str:
    """Return the CNI configuration.

    Pods join the lab's bridge, so that they reach the lab's gateways and registries.
    """
    subnet = ipaddress.ip_network(f"{network.ADDRESS}/{network.PREFIX_LENGTH}", strict=False)
    addresses = {"subnet": str(subnet), "rangeStart": FIRST_POD, "rangeEnd": LAST_POD, "gateway": network.ADDRESS}
    ipam = {"type": "host-local", "ranges": [[addresses]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": network.BRIDGE, "isGateway": False, "hairpinMode": True, "ipam": ipam}
    return json.dumps({"cniVersion": "0.4.0", "name": "lab", "plugins": [bridge]})


def kubelet(cgroup: str, pod_logs: Path) -> str:
    """Return the kubelet's configuration. It needs no login, because only the lab's private network leads to it.

    There is no DNS. As in a cluster, it measures its disk and evicts pods if it is full. Ten seconds after the disk has
    room again, it accepts pods; the default is five minutes.
    """
    return yaml.safe_dump(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": network.ADDRESS,
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroup}",
            "clusterDNS": [],
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "enforceNodeAllocatable": [],
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "evictionPressureTransitionPeriod": "10s",
            "failCgroupV1": False,
            "failSwapOn": False,
            "localStorageCapacityIsolation": True,
            "podLogsDir": str(pod_logs),
            "protectKernelDefaults": True,
            "registerWithTaints": [],
            "resolvConf": "",
        }
    )
