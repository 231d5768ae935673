-- Ends the action off, and rolls out the spec, as `kubectl pluginrelease on` does.
local os = require("os")
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["pluginrelease.io/off"] = nil
obj.metadata.annotations["pluginrelease.io/on"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
