-- Removes the plugin from every gateway at once, as `kubectl pluginrelease off` does. It stays off until the action on.
local os = require("os")
local reason = (actionParams or {})["reason"]
if reason == nil or reason == "" then
  reason = "a user of Argo CD switched it off"
end
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["pluginrelease.io/on"] = nil
obj.metadata.annotations["pluginrelease.io/off"] = os.date("!%Y-%m-%dT%H:%M:%SZ") .. ": " .. reason
return obj
