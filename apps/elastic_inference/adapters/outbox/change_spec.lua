-- Replaces or removes a sink that was added by the API, unless it has changed since the caller read it.
-- KEYS: specifications of sinks
-- ARGV: name, what the caller has read, what it is now (empty: removed)
-- Returns 1, or 0 if it has changed.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
elseif ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 1
