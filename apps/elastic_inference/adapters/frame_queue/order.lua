#!lua flags=allow-oom
-- Numbers legacy frames, whose stream is known only once a pod has unpacked them.
-- KEYS: order:<name> of each stream
-- ARGV: life of order in ms, how many numbers for each
-- Returns the last number of each stream; its numbers are consecutive.
if #KEYS > 4096 then return redis.error_reply('ERR too many streams') end
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local last = {}
for i, key in ipairs(KEYS) do
  local count = tonumber(ARGV[i + 1])
  local order = redis.pcall('INCRBY', key, count)
  if type(order) ~= 'number' or order == count then
    order = now + count - 1
    redis.call('SET', key, string.format('%.0f', order), 'PX', ARGV[1])
  else
    redis.call('PEXPIRE', key, ARGV[1])
  end
  last[i] = order
end
return last
