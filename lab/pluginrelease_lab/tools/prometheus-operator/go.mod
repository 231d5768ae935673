module pluginrelease.io/lab/tools/prometheus-operator

go 1.26.0

// no program is built of it: the kinds of the Prometheus Operator are read from its folder
require github.com/prometheus-operator/prometheus-operator v0.92.0
