-- The same for all kinds of managedhsm.dev, whose conditions follow kstatus. Stalled=True: somebody has to act, or it failed for
-- good. Ready=True: it can be used; of a deleted object: it is kept; of a Recover or a Purge: it is complete.
local hs = { status = "Progressing", message = "Waiting for the operator" }

if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "Pending deletion"
  return hs
end

-- What no operator has seen has -1, by default.
local status = obj.status or {}
if (status.observedGeneration or -1) < (obj.metadata.generation or 1) then
  return hs
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local stalled, ready = conditions.Stalled, conditions.Ready

if stalled ~= nil and stalled.status == "True" then
  hs.status = "Degraded"
  hs.message = stalled.message
elseif ready ~= nil then
  if ready.status == "True" then
    hs.status = "Healthy"
  end
  hs.message = ready.message
end
return hs
