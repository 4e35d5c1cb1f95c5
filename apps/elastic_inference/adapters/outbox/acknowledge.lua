#!lua flags=allow-oom
-- Moves a sink's cursor forward, never back, for the worker that has the sink. It does not create a missing cursor:
-- then Redis has lost its data.
-- KEYS: events:{p}:sinks, events:{p}:holders
-- ARGV: sink, entry id, epoch of the worker's lease
-- Returns {1 if the cursor was there, -1 if a worker with a newer lease has begun, ms of Redis' clock}
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local epoch, held = tonumber(ARGV[3]), tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '') or 0
if held > epoch then return {-1, now_ms} end
if held < epoch then redis.call('HSET', KEYS[2], ARGV[1], ARGV[3]) end
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if not stored then return {0, now_ms} end
local function ms_seq(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms) or 0, tonumber(seq) or 0
end
local old_ms, old_seq = ms_seq(stored)
local ms, seq = ms_seq(ARGV[2])
if ms > old_ms or (ms == old_ms and seq > old_seq) then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return {1, now_ms}
