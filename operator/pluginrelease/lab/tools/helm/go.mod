module pluginrelease.io/lab/tools/helm

go 1.26.0
