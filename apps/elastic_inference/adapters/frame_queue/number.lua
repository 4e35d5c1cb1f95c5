-- Numbers the frames of a stream; this text goes before that of pop.lua and of order.lua.
-- Returns the last of the stream's next `count` numbers: without gaps while its counter lives, and starting from the
-- clock (`now`, in us) where there is none. The counter lives for `life` ms after a frame, or longer.
local function number(key, count, now, life)
  -- To renew the life of the counter costs as much as to count, so only each 16th frame of a stream does it, and then
  -- for the time of 17. But a stream has to earn that, or made-up names would fill Redis: each of its first 16 frames
  -- renews a single life. Since a counter starts at a multiple of 1024, its last digits say how many there were.
  local FIRST, RENEWED = 1024, 16
  local last = redis.pcall('INCRBY', key, count)
  local new = type(last) ~= 'number' or last == count
  if new then last = now - now % FIRST + count - 1 end
  local young = last % FIRST < RENEWED
  if not young then life = life * (RENEWED + 1) end
  if new then
    redis.call('SET', key, string.format('%.0f', last), 'PX', life)
  elseif young or last % RENEWED < count then
    redis.call('PEXPIRE', key, life)
  end
  return last
end

