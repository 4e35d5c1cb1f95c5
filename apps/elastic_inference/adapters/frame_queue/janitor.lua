#!lua flags=allow-oom
-- Keeps one type's queue bounded and fresh while no pod pops, and mends what a killed pod left.
-- KEYS: tokens, queue_<type>, dropped, sources, plain
-- ARGV: prefix, MAX_FRAME_AGE in us, QUEUE_DEPTH, how long a silent source stays listed in ms
-- Returns {stale, queue_full}: what it dropped; both are counted in `dropped`.
local tokens, plain, dropped, sources, account = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
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
-- Nobody is seen in the future: whoever may write names could else list one for ever.
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
  -- As many tokens as frames, also after a pod died with a token in hand.
  if seen[name] > left then redis.call('LREM', tokens, left - seen[name], name) end
  for _ = seen[name] + 1, left do redis.call('RPUSH', tokens, name) end
end

-- Plain frames carry no time of arrival. How many had come (waiting + removed so far) is noted along the way: what had
-- come MAX_FRAME_AGE ago and is not removed yet is stale.
local waiting = usable('LLEN', plain) or 0
local noted = usable('HMGET', account, 'removed', 'marks') or {}
local removed = tonumber(noted[1] or '') or 0
local marks, come_before = {}, 0
local last = 0
for time, come in string.gmatch(noted[2] or '', '(%d+) (%d+)') do
  time, come = tonumber(time), tonumber(come)
  if now - time > max_age then come_before = math.max(come_before, come) else
    marks[#marks + 1] = string.format('%.0f %.0f', time, come)
    last = time
  end
end
local old = math.min(waiting, math.max(0, come_before - removed))
local excess = math.max(0, waiting - old - depth)
if old + excess > 0 then
  redis.call('LTRIM', plain, old + excess, -1)
  stale, over = stale + old, over + excess
end
local come = waiting + removed
removed = removed + old + excess
if waiting > 0 or #marks > 0 then
  if come_before > 0 then table.insert(marks, 1, string.format('%.0f %.0f', now - max_age - 1000000, come_before)) end
  if now - last >= max_age / 16 then marks[#marks + 1] = string.format('%.0f %.0f', now, come) end
  redis.call('HSET', account, 'removed', string.format('%.0f', removed), 'marks', table.concat(marks, ' '))
  redis.call('PEXPIRE', account, math.floor(max_age / 1000) + 60000)
end

if stale > 0 then redis.call('HINCRBY', dropped, 'stale', stale) end
if over > 0 then redis.call('HINCRBY', dropped, 'queue_full', over) end
return {stale, over}
