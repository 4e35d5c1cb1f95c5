#!lua flags=allow-oom
-- Moves a sink's cursors forward, never back. A cursor that is missing is not made here: Redis has lost its data.
-- KEYS: events:{p}:sinks
-- ARGV: sink, entry id
-- Returns {1 if the cursor was there, ms of Redis' clock}
local stored = redis.call('HGET', KEYS[1], ARGV[1])
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
if not stored then return {0, now_ms} end
local function ms_seq(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms) or 0, tonumber(seq) or 0
end
local old_ms, old_seq = ms_seq(stored)
local ms, seq = ms_seq(ARGV[2])
if ms > old_ms or (ms == old_ms and seq > old_seq) then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return {1, now_ms}
