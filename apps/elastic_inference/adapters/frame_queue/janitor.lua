#!lua flags=allow-oom
-- Keeps one type's queue bounded and fresh while no pod pops, and repairs what a killed pod left.
-- KEYS: tokens, queue_<type>, dropped, sources, plain
-- ARGV: prefix, MAX_FRAME_AGE in us, QUEUE_DEPTH, how long a silent source stays listed in ms
-- Returns {stale, queue_full}: how many frames it dropped; both are added to `dropped`.
local tokens, legacy, dropped, sources, account = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local prefix, max_age, depth = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local stale, over = 0, 0

local function usable(command, key, ...)
  local found = redis.pcall(command, key, ...)
  if type(found) == 'table' and found.err then
    redis.call('UNLINK', key)
    return nil
  end
  return found
end

local names, seen = {}, {}
for _, name in ipairs(usable('LRANGE', tokens, 0, -1) or {}) do
  if not seen[name] then names[#names + 1] = name end
  seen[name] = (seen[name] or 0) + 1
end
usable('ZREMRANGEBYSCORE', sources, '-inf', string.format('(%.0f', now / 1000 - ARGV[4]))
-- Remove entries with a future timestamp: whoever may write names could otherwise list one for ever.
usable('ZREMRANGEBYSCORE', sources, string.format('(%.0f', now / 1000 + ARGV[4]), '+inf')
for _, name in ipairs(usable('ZRANGE', sources, 0, -1) or {}) do
  if not seen[name] then names[#names + 1], seen[name] = name, 0 end
end

for _, name in ipairs(names) do
  local waiting = prefix .. 'waiting:' .. name
  local left = usable('LLEN', waiting) or 0
  while left > 0 do
    local entry = redis.call('LINDEX', waiting, 0)
    local stamp = string.match(entry, '^(%d+) ')
    if stamp and now - stamp <= max_age then break end
    redis.call('LPOP', waiting)
    redis.call('UNLINK', prefix .. 'frame:' .. name .. ':' .. string.match(entry, '[^ ]*$'))
    left, stale = left - 1, stale + 1
  end
  -- As many tokens as frames, also after a pod that held a token died.
  if seen[name] > left then redis.call('LREM', tokens, left - seen[name], name) end
  for _ = seen[name] + 1, left do redis.call('RPUSH', tokens, name) end
end

-- Legacy frames carry no time of arrival. So each run notes how many had arrived by then (waiting + removed so far):
-- those that had arrived MAX_FRAME_AGE ago and are not removed yet are stale.
local waiting = usable('LLEN', legacy) or 0
local noted = usable('HMGET', account, 'removed', 'marks') or {}
local removed = tonumber(noted[1] or '') or 0
local marks, arrived_before = {}, 0
local last = 0
for time, arrived in string.gmatch(noted[2] or '', '(%d+) (%d+)') do
  time, arrived = tonumber(time), tonumber(arrived)
  if now - time > max_age then arrived_before = math.max(arrived_before, arrived) else
    marks[#marks + 1] = string.format('%.0f %.0f', time, arrived)
    last = time
  end
end
local old = math.min(waiting, math.max(0, arrived_before - removed))
local excess = math.max(0, waiting - old - depth)
if old + excess > 0 then
  redis.call('LTRIM', legacy, old + excess, -1)
  stale, over = stale + old, over + excess
end
local arrived = waiting + removed
removed = removed + old + excess
if waiting > 0 or #marks > 0 then
  if arrived_before > 0 then
    table.insert(marks, 1, string.format('%.0f %.0f', now - max_age - 1000000, arrived_before))
  end
  if now - last >= max_age / 16 then marks[#marks + 1] = string.format('%.0f %.0f', now, arrived) end
  redis.call('HSET', account, 'removed', string.format('%.0f', removed), 'marks', table.concat(marks, ' '))
  redis.call('PEXPIRE', account, math.floor(max_age / 1000) + 60000)
end

if stale > 0 then redis.call('HINCRBY', dropped, 'stale', stale) end
if over > 0 then redis.call('HINCRBY', dropped, 'queue_full', over) end
return {stale, over}
