-- Runs an earlier revision, as `kubectl pluginrelease rollback` does: the one that the parameter `revision` names, else
-- the newest other one that ran on all gateways. It runs until the spec wants another revision, or until a retry.
local os = require("os")
local status = obj.status or {}

-- whether the operator restored an entry's stable revision after a failure
local function is_put_back()
  local failure = status.rollout ~= nil and status.rollout.failure or nil
  if failure == nil or failure.held then
    return false
  end
  local failed = {}
  for _, name in ipairs(failure.gateways or {}) do
    failed[name] = true
  end
  for _, entry in ipairs(status.gateways or {}) do
    if failed[entry.name] and entry.stable ~= nil then
      return true
    end
  end
  return false
end

local function choose()
  if is_put_back() then
    error("The revision failed, and the operator has restored what ran before. Name an older revision", 0)
  end
  local running = {}
  for _, entry in ipairs(status.gateways or {}) do
    if entry.revision ~= nil then
      running[entry.revision] = true
    end
  end
  local newest = nil
  for _, entry in ipairs(status.history or {}) do
    local ran = entry.state == "Stable" or entry.state == "Superseded"
    if ran and not running[entry.revision] and (newest == nil or entry.number > newest.number) then
      newest = entry
    end
  end
  if newest == nil then
    error("No other revision ran on all gateways", 0)
  end
  return newest.revision
end

local wanted = (actionParams or {})["revision"]
if wanted == nil or wanted == "" then
  wanted = choose()
end
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["pluginrelease.io/rollback-to"] = wanted .. ":" .. os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
