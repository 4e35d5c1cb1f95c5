-- Called when a worker takes over a partition: shuts out workers with older leases, and returns where to continue.
-- KEYS: cursor, state
-- ARGV: epoch of the worker's lease, maximum number of streams, maximum bytes of the state
-- Returns {0} if a worker with a newer lease has begun, else {1, results read up to, highest id read, batch,
-- 1 if there was no cursor, 1 if the state was too large and was removed, {stream, state, …}}
local epoch = tonumber(ARGV[1])
local function hash(key)
  local count = redis.pcall('HLEN', key)
  if type(count) == 'number' then return count end
  redis.call('UNLINK', key)
  return 0
end
local known = hash(KEYS[1]) > 0
local stored = known and tonumber(redis.call('HGET', KEYS[1], 'epoch')) or 0
if stored > epoch then return {0} end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
local found = redis.call('HMGET', KEYS[1], 'results', 'read', 'batch')
local states, removed = {}, 0
local count = hash(KEYS[2])
if count > 0 then
  local used = redis.call('MEMORY', 'USAGE', KEYS[2], 'SAMPLES', 0)
  if count > tonumber(ARGV[2]) or used > tonumber(ARGV[3]) then
    redis.call('UNLINK', KEYS[2])
    removed = 1
  else
    states = redis.call('HGETALL', KEYS[2])
  end
end
return {1, found[1] or '', found[2] or '', found[3] or '0', known and 0 or 1, removed, states}
