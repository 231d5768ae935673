-- Rolls out the spec again, as `kubectl pluginrelease retry` does. The operator acts once on each value.
local os = require("os")
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["pluginrelease.io/retry"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
