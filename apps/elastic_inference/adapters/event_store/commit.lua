-- Writes the outcome of some results: state, cursor and events, all or nothing. Writes nothing if another worker has
-- taken the partition. A batch that is sent again, because its answer was lost, is not written twice.
-- KEYS: cursor, state, events, sinks
-- ARGV: epoch, batch, results read up to, highest id read, maximum number of events, ms of the retention,
--       number of states, number of streams to forget; then stream and state of each, the streams to forget, and for
--       each event `k` if it must be kept, or `u` if it may be left out, and its JSON
-- Returns {0} if another worker has the partition, else {1, last batch of this worker or -1, number of updates left
-- out, number of events lost (removed before every sink had them), length of the outbox, id of its newest event}
local epoch, batch, maxlen = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[5])
local stored = redis.call('HMGET', KEYS[1], 'epoch', 'batch', 'answer')
if stored[1] and tonumber(stored[1]) > epoch then return {0} end
local before = stored[1] and tonumber(stored[1]) == epoch and tonumber(stored[2]) or -1
local function newest()
  local entry = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
  return entry and entry[1] or ''
end
if before == batch then
  local left_out, lost = string.match(stored[3] or '', '^(%d+) (%d+)$')
  return {1, batch - 1, tonumber(left_out) or 0, tonumber(lost) or 0, redis.call('XLEN', KEYS[3]), newest()}
end

local function ms_seq(id)
  local ms, seq = string.match(id or '', '^(%d+)-(%d+)$')
  return tonumber(ms) or 0, tonumber(seq) or 0
end
local function is_older(a, b)
  local a_ms, a_seq = ms_seq(a)
  local b_ms, b_seq = ms_seq(b)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end
-- The lowest of the sinks' cursors: some sink still needs the events after it. nil if there is no sink.
local function slowest()
  local found
  for i, id in ipairs(redis.call('HVALS', KEYS[4])) do
    if not found or is_older(id, found) then found = id end
  end
  return found
end

local at, states, forget = 9, tonumber(ARGV[7]), tonumber(ARGV[8])
local states_end = at + 2 * states
while at < states_end do
  local after = math.min(at + 1000, states_end)
  redis.call('HSET', KEYS[2], unpack(ARGV, at, after - 1))
  at = after
end
for _ = 1, forget do
  redis.call('HDEL', KEYS[2], ARGV[at])
  at = at + 1
end
local left_out, lost, acked, last = 0, 0, nil, nil
if at <= #ARGV then acked = slowest() end
while at <= #ARGV do
  local length = redis.call('XLEN', KEYS[3])
  local oldest = acked and length >= 0.8 * maxlen and redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
  -- The slowest sink still needs every event that is kept.
  local pressed = oldest and is_older(acked, oldest[1])
  if pressed and ARGV[at] == 'u' then
    left_out = left_out + 1
  else
    if pressed and length >= maxlen then lost = lost + 1 end
    last = redis.call('XADD', KEYS[3], 'MAXLEN', maxlen, '*', 'json', ARGV[at + 1])
  end
  at = at + 2
end
local now = redis.call('TIME')
redis.call('XTRIM', KEYS[3], 'MINID', '~', string.format('%.0f', math.max(0, now[1] * 1000 - tonumber(ARGV[6]))))
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'batch', ARGV[2], 'results', ARGV[3], 'read', ARGV[4],
  'answer', left_out .. ' ' .. lost)
return {1, before, left_out, lost, redis.call('XLEN', KEYS[3]), last or ''}
