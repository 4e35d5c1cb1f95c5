-- Keeps an image that a pod has written: checks it, counts it, and removes the oldest ones beyond the bound.
-- KEYS: image, index, bytes
-- ARGV: name of the image, largest size of one, bytes of all images, seconds to live
-- Returns {bytes of the image, images removed for the bound, bytes of all images}. The first is 0 if there was no
-- image, or if the value was too large or no JPEG and was removed.
local largest, limit, life = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local prefix = string.sub(KEYS[1], 1, #KEYS[1] - #ARGV[1])
local total = tonumber(redis.call('GET', KEYS[3]) or '0') or 0
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function forget(members)
  for _, member in ipairs(members) do
    total = total - (tonumber(string.match(member, '^(%d+) ')) or 0)
    redis.call('ZREM', KEYS[2], member)
  end
end
-- Forget images that have expired.
forget(redis.call('ZRANGE', KEYS[2], '-inf', now - life * 1000, 'BYSCORE', 'LIMIT', 0, 100))

local size = redis.pcall('STRLEN', KEYS[1])
if type(size) ~= 'number' then size = 0 end
if size == 0 or size > largest or redis.call('GETRANGE', KEYS[1], 0, 2) ~= '\255\216\255' then
  redis.call('UNLINK', KEYS[1])
  size = 0
elseif redis.call('ZADD', KEYS[2], now, size .. ' ' .. ARGV[1]) == 1 then
  redis.call('EXPIRE', KEYS[1], life)
  total = total + size
end

local removed = 0
while total > limit do
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)
  if #oldest == 0 then total = 0 break end
  redis.call('UNLINK', prefix .. (string.match(oldest[1], '^%d+ (.*)$') or ''))
  forget(oldest)
  removed = removed + 1
end
redis.call('SET', KEYS[3], math.max(0, total), 'EX', 2 * life)
redis.call('EXPIRE', KEYS[2], 2 * life)
return {size, removed, math.max(0, total)}
