module pluginrelease.io/lab/tools/etcd

go 1.26.0
