"""A real node in the lab: containerd, runc, CNI on the lab's bridge, kubelet, kube-scheduler and kube-proxy.

Its processes, mounts and network are those of the lab, and end with it. Cgroups are the kernel's and would stay; a
process outside of the lab removes them (`cgroups.leave_sweeper`).
"""
