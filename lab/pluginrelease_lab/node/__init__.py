"""A real node in the lab: containerd, runc, CNI on the lab's bridge, kubelet, kube-scheduler and kube-proxy.

Its processes, mounts and network belong to the lab and end with it. Cgroups belong to the kernel and would remain: a
process outside the lab removes them (`cgroups.leave_sweeper`).
"""
