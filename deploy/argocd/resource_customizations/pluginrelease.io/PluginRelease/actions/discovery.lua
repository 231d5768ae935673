-- Which actions a user can run now. The disabled ones would change nothing.
local status = obj.status or {}
local is_off = status.switchedOff ~= nil
local is_suspended = obj.spec.suspend == true

-- the revisions that the gateways are to run now
local running = {}
for _, entry in ipairs(status.gateways or {}) do
  if entry.revision ~= nil then
    running[entry.revision] = true
  end
end

-- whether another revision ran on all gateways before
local has_other = false
for _, entry in ipairs(status.history or {}) do
  if (entry.state == "Stable" or entry.state == "Superseded") and not running[entry.revision] then
    has_other = true
  end
end

return {
  retry = { disabled = is_off or is_suspended, displayName = "Retry", iconClass = "fa fa-fw fa-redo" },
  rollback = {
    disabled = not has_other or is_off or is_suspended,
    displayName = "Roll back",
    iconClass = "fa fa-fw fa-undo",
    params = { { name = "revision" } },
  },
  suspend = { disabled = is_suspended, displayName = "Suspend", iconClass = "fa fa-fw fa-pause" },
  resume = { disabled = not is_suspended, displayName = "Resume", iconClass = "fa fa-fw fa-play" },
  off = {
    disabled = is_off,
    displayName = "Switch off",
    iconClass = "fa fa-fw fa-power-off",
    params = { { name = "reason" } },
  },
  on = { disabled = not is_off, displayName = "Switch on", iconClass = "fa fa-fw fa-toggle-on" },
}
