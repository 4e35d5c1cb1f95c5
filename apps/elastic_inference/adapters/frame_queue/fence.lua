-- The start of the push script of leased streams; the text of push.lua follows. Only the holder of the newest lease
-- pushes, and its numbers continue those of the holder before.
-- KEYS, after those of push.lua: epoch:<name>
-- ARGV, after those of push.lua: epoch of the lease, seq of the first frame, seq of the last, life of the key in ms,
--       seq of the last frame that this producer has pushed under this epoch, or -1
-- Returns an error and enters nothing: 'EI_FENCED <newer epoch>', or 'EI_SEQ <seq>' if the stream has already reached
-- that number. After EI_SEQ, the previous holder can no longer push. So the numbers of all types, which the new holder
-- asks for in one round trip, are final.
-- If Redis has lost what this lease has pushed, it may have lost a newer lease too. Then the error is
-- 'EI_FENCED <its own epoch>', and the worker asks for a newer epoch, which only the holder gets.
local ARGUMENTS, MAX_NUMBER, MAX_FRAMES = 5, 9000000000000000, 1024
local fence, given = KEYS[4], #ARGV - ARGUMENTS
if #ARGV < 5 + ARGUMENTS or given > 5 + MAX_FRAMES or #ARGV[1] > 256 or #ARGV[2] > 128 or #fence > 512 then
  return redis.error_reply('ERR a name or key of the frame queue is too long, or there are too few or many arguments')
end
local epoch, first, last, life = tonumber(ARGV[given + 1]), tonumber(ARGV[given + 2]), ARGV[given + 3], ARGV[given + 4]
local pushed = tonumber(ARGV[given + 5])
-- The same pipeline has just SET these frames. Nobody would pop them, so they are removed.
local function refuse(reason)
  for i = 5, given do
    local id = string.match(string.sub(ARGV[i], 1, 512), '^%d+ (.+)$')
    if id then redis.call('UNLINK', ARGV[1] .. 'frame:' .. ARGV[2] .. ':' .. id) end
  end
  return redis.error_reply(reason)
end
-- A value of any other form is not a fence, and is replaced below.
local length = redis.pcall('STRLEN', fence)
local stored = type(length) == 'number' and length > 0 and length <= 64 and redis.call('GET', fence) or ''
local newest, reached = string.match(stored, '^(%d+) (%d+)$')
newest, reached = tonumber(newest), tonumber(reached)
local known = newest and newest <= MAX_NUMBER and reached <= MAX_NUMBER
if known and newest > epoch then
  -- As in lease.lua: an epoch that is a century ahead of the clock is made up.
  known = newest - redis.call('TIME')[1] * 1000000 <= 36525 * 86400000000
end
if known and newest > epoch then return refuse(string.format('EI_FENCED %.0f', newest)) end
if pushed >= 0 and not (known and newest == epoch and reached >= pushed) then
  return refuse(string.format('EI_FENCED %.0f', epoch))
end
if known then
  if reached >= first then
    if newest < epoch then redis.call('SET', fence, string.format('%.0f %.0f', epoch, reached), 'PX', life) end
    return refuse(string.format('EI_SEQ %.0f', reached))
  end
end
redis.call('SET', fence, string.format('%.0f %s', epoch, last), 'PX', life)
for _ = 1, ARGUMENTS do table.remove(ARGV) end

