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
"""The addresses of its pods: above those of the lab's own gateways, and below those that are only simulated."""


def containerd() -> str:
    """Without a network of its own to pull from: images are imported."""
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
    """Pods are on the lab's bridge, so that they, the lab's gateways and its registries reach each other."""
    subnet = ipaddress.ip_network(f"{network.ADDRESS}/{network.PREFIX_LENGTH}", strict=False)
    addresses = {"subnet": str(subnet), "rangeStart": FIRST_POD, "rangeEnd": LAST_POD, "gateway": network.ADDRESS}
    ipam = {"type": "host-local", "ranges": [[addresses]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": network.BRIDGE, "isGateway": False, "hairpinMode": True, "ipam": ipam}
    return json.dumps({"cniVersion": "0.4.0", "name": "lab", "plugins": [bridge]})


def kubelet(cgroup: str, pod_logs: Path) -> str:
    """Anonymous, as only the lab's private network leads to it. It answers no DNS: there is none."""
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
            "failCgroupV1": False,
            "failSwapOn": False,
            "localStorageCapacityIsolation": False,
            "podLogsDir": str(pod_logs),
            "protectKernelDefaults": True,
            "registerWithTaints": [],
            "resolvConf": "",
        }
    )
