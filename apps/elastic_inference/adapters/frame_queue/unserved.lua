#!lua flags=no-writes
-- Reads how many drops a second housekeeping has claimed for a type without pods (janitor.lua). Clients can write this
-- key: sizes are checked before anything is read.
-- KEYS: dropped
-- Returns drops per 1000 s; 0 if none has been dropped lately.
local MAX_BYTES, QUIET_US, INTERVALS = 20, 3000000, 3
local function number(field)
  local length = redis.pcall('HSTRLEN', KEYS[1], field)
  if type(length) ~= 'number' or length == 0 or length > MAX_BYTES then return 0 end
  return tonumber(redis.call('HGET', KEYS[1], field)) or 0
end
local rate, claimed = number('rate'), number('claimed')
-- 1 stands for a rate that is not known yet.
if not (rate > 1) then return 0 end
local clock = redis.call('TIME')
local passed = clock[1] * 1000000 + clock[2] - claimed
if passed < 0 or passed > math.max(QUIET_US, INTERVALS * 1e9 / rate) then return 0 end
return math.floor(math.min(rate, 1e9))
