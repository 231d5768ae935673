-- The health of a PluginRelease, from the conditions that kstatus reads too (docs/states.md).
--   Healthy      the gateways run what the spec wants, also while the release is suspended
--   Degraded     a user must act
--   Progressing  the operator goes on, or has not seen this spec yet
-- Suspended and Unknown are never returned: a sync with waves waits without end for both.
local function progressing(message)
  return { status = "Progressing", message = message }
end

if obj.status == nil or obj.status.conditions == nil then
  return progressing("The operator has not seen this release yet")
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  return progressing("The operator has not seen this spec yet")
end

local found = {}
for _, condition in ipairs(obj.status.conditions) do
  found[condition.type] = condition
end

local function is_true(kind)
  return found[kind] ~= nil and found[kind].status == "True"
end

if is_true("Stalled") then
  return { status = "Degraded", message = found.Stalled.message }
end
if is_true("Ready") then
  return { status = "Healthy", message = found.Ready.message }
end
if is_true("Reconciling") then
  return progressing(found.Reconciling.message)
end
return { status = "Degraded", message = found.Ready ~= nil and found.Ready.message or "The condition Ready is missing" }
