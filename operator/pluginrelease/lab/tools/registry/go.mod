module pluginrelease.io/lab/tools/registry

go 1.26.0
