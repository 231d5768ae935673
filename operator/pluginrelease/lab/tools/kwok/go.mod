module pluginrelease.io/lab/tools/kwok

go 1.26.0
