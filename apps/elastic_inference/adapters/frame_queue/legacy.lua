#!lua flags=allow-oom
-- Bounds a type's legacy frames, and records how many left the list. Must work when Redis is out of memory.
-- KEYS: queue_<type>, plain, flow
-- ARGV: QUEUE_DEPTH, legacy frames popped since the last call, bytes that the list may have
-- Returns {legacy frames left, dropped as queue_full}.
local queue, account, flow = KEYS[1], KEYS[2], KEYS[3]
local depth, removed, max_bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local left = redis.pcall('LLEN', queue)
if type(left) ~= 'number' then
  -- A key of the wrong type (from a foreign SET) would stall the type for good.
  redis.call('UNLINK', queue)
  left = 0
end
local over = math.max(0, left - depth)
if over > 0 then redis.call('LTRIM', queue, over, -1) end
-- A few large messages are as bad as very many small ones. Older rights lack MEMORY USAGE: then only the number is
-- bounded.
for _ = 1, 16 do
  local used = over < left and redis.pcall('MEMORY', 'USAGE', queue, 'SAMPLES', 0)
  if type(used) ~= 'number' or used <= max_bytes then break end
  local cut = math.max(1, math.floor((left - over) * (1 - max_bytes / used)))
  redis.call('LTRIM', queue, cut, -1)
  over = over + cut
end
-- The number and its bound are those of pop.lua, which renews the life only for the frames that it pops itself.
if removed + over > 0 then
  redis.pcall('HINCRBY', flow, 'total', removed + math.min(1000000, over) * 4294967296)
  redis.pcall('PEXPIRE', flow, 600000)
end
removed = removed + over
if removed > 0 and type(redis.pcall('HINCRBY', account, 'removed', removed)) ~= 'number' then
  redis.call('UNLINK', account)
end
return {left - over, over}
