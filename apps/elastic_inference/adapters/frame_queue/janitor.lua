#!lua flags=allow-oom
-- Keeps one type's queue bounded and fresh while no pod pops, and repairs what a killed pod left. Clients can write
-- anything into these keys, so each run does a bounded amount of work and reads a bounded number of bytes. The next run
-- continues.
-- KEYS: tokens, queue_<type>, dropped, sources, plain, janitor
-- ARGV: prefix, MAX_FRAME_AGE in us, QUEUE_DEPTH, how long a silent source stays listed in ms, TOKEN_LIMIT,
--       names to look at, where to start among the names, where among the sources, life of the lock in ms, holder,
--       bytes that the legacy list may have, 1 if the type has no pod that would claim drops, additional names
-- Returns {stale, queue_full, next start among the names, among the sources, claimed queue_full, claimed stale}. The
-- first two are added to `dropped`, the last two leave it. Returns nil if another replica holds the lock.
local tokens, legacy, dropped, sources, account, lock = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local prefix, max_age, depth, listed = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local limit, most_names = tonumber(ARGV[5]), tonumber(ARGV[6])
local start, source_start, lock_life = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local legacy_bytes, unserved = tonumber(ARGV[11]), ARGV[12] == '1'
local MAX_TOKENS, MAX_SOURCES, SOURCES_A_RUN, MAX_REMOVED, SLICE, STREAM_DEPTH = 8192, 4096, 256, 8192, 64, 1024
-- As in sources.lua, which reads no larger set.
local MAX_NAMES = 16384
-- A name has at most 128 bytes and its place in a list or set up to 300 more. An entry has some 50 bytes.
local NAME_BYTES, MAX_ENTRY, MAX_BYTES = 768, 512, 33554432
local SERVED_LIFE, MAX_ADDED, MEAN_US, KEPT_US = 600000, 1024, 5000000, 60000000
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- Whether another replica is at work. If not, the lock is this one's.
local function locked()
  -- A stamp in the lock, since its expiry alone would last an hour after the clock is set back by an hour.
  local mark = string.format('%.0f %s', now, ARGV[10])
  local held = redis.pcall('SET', lock, mark, 'NX', 'GET', 'PX', lock_life)
  if held then
    local since = type(held) == 'string' and tonumber(string.match(string.sub(held, 1, 64), '^%d+') or '')
    if since and since <= now and now - since < lock_life * 1000 then return true end
    redis.call('SET', lock, mark, 'PX', lock_life)
  end
  return false
end

-- Drops that no pod has claimed since the last look: each pop removes the key. So the first look only leaves a mark
-- (`claimed`, in us), in case a pod has just started. `rate` is their mean per 1000 s; unserved.lua reads it.
-- Returns how many are claimed, by reason.
local function claim_drops()
  if redis.call('EXISTS', dropped) == 0 then return 0, 0 end
  -- HINCRBY returns an integer or an error, whatever the field holds.
  local function count(field)
    local found = redis.pcall('HINCRBY', dropped, field, 0)
    return type(found) == 'number' and math.max(0, found) or 0
  end
  local last, rate, full, old = count('claimed'), count('rate'), count('queue_full'), count('stale')
  local passed = now - last
  local known = last > 0 and passed >= 0
  if full + old == 0 then
    if not known or passed > KEPT_US then redis.call('UNLINK', dropped) end
    return 0, 0
  end
  local current = (full + old) * 1e9 / math.max(100000, passed)
  if not known then
    rate = 0
  elseif rate == 0 then
    -- The first claim may cover any time: the next one begins the mean.
    rate = 1
  else
    rate = rate == 1 and current or rate + (current - rate) * (1 - math.exp(-passed / MEAN_US))
  end
  redis.pcall('HSET', dropped, 'claimed', string.format('%.0f', now), 'rate', string.format('%.0f', rate))
  if not known then return 0, 0 end
  redis.pcall('HSET', dropped, 'queue_full', 0, 'stale', 0)
  return full, old
end

-- A key of the wrong type is deleted.
local function usable(command, key, ...)
  local found = redis.pcall(command, key, ...)
  if type(found) == 'table' and found.err then
    if string.match(found.err, '^WRONGTYPE') then redis.call('UNLINK', key) end
    return nil
  end
  return found
end

local function add_drops(reason, count)
  if count <= 0 then return end
  if type(redis.pcall('HINCRBY', dropped, reason, count)) ~= 'number' then
    redis.call('UNLINK', dropped)
    redis.call('HINCRBY', dropped, reason, count)
  end
end

-- Removes a key that is larger than `most` names need: reading it could take all memory. Older rights lack MEMORY
-- USAGE. It walks the whole value, so call it once the type and the number of elements are right.
local function bound_bytes(key, most)
  local used = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', 0)
  if type(used) ~= 'number' or used <= 4096 + most * NAME_BYTES then return false end
  redis.call('UNLINK', key)
  return true
end

-- The sweep gives lists an expiry while their type is not served. It moves on while the type is.
local function keep(key) redis.pcall('PEXPIRE', key, SERVED_LIFE, 'XX') end

local names, seen, list, changed = {}, {}, {}, false
local function note(name)
  if seen[name] then return true end
  if #name > 128 or not string.match(name, '^%w[%w._-]*$') then return false end
  names[#names + 1], seen[name] = name, 0
  return true
end

-- All tokens, and how many of them have been read into `list`.
local all, walked = 0, 0

local function read_tokens()
  all = usable('LLEN', tokens) or 0
  if all > limit then
    -- Pushes never exceed the limit. The tail is what another program added.
    redis.call('LTRIM', tokens, 0, limit - 1)
    all = limit
  end
  -- The tokens of the frames that wait are pushed again below.
  if all > 0 and bound_bytes(tokens, all) then all = 0 end
  walked = math.min(all, MAX_TOKENS)
  for first = 0, walked - 1, SLICE do
    for _, name in ipairs(redis.call('LRANGE', tokens, first, math.min(first + SLICE, walked) - 1)) do
      if note(name) then seen[name], list[#list + 1] = seen[name] + 1, name else changed = true end
    end
  end
end

local function read_sources()
  -- To remove names one by one from a set of millions would take a second. Producers report again within a second.
  local crowd = usable('ZRANGE', sources, MAX_NAMES, MAX_NAMES)
  if crowd and crowd[1] then redis.call('UNLINK', sources) end
  usable('ZREMRANGEBYSCORE', sources, '-inf', string.format('(%.0f', now / 1000 - listed))
  -- Remove entries with a future timestamp: otherwise anyone who may write names could keep one listed forever.
  usable('ZREMRANGEBYSCORE', sources, string.format('(%.0f', now / 1000 + listed), '+inf')
  local excess = usable('ZRANGE', sources, -MAX_SOURCES - 1, -MAX_SOURCES - 1, 'WITHSCORES')
  if excess and excess[2] then redis.call('ZREMRANGEBYSCORE', sources, '-inf', excess[2]) end
  -- Producers report again within a second.
  if excess then bound_bytes(sources, MAX_SOURCES) end
  local found = usable('ZRANGE', sources, source_start, source_start + SOURCES_A_RUN - 1, 'WITHSCORES') or {}
  for i = 1, #found, 2 do
    if not note(found[i]) then redis.call('ZREMRANGEBYSCORE', sources, found[i + 1], found[i + 1]) end
  end
  source_start = #found == 2 * SOURCES_A_RUN and source_start + SOURCES_A_RUN or 0
end

local stale, removed_entries, bytes, wanted = 0, 0, 0, {}

-- Removes a stream's entries that are stale or garbage, the oldest first. Returns how many entries are left.
local function drop_stale(name)
  local waiting = prefix .. 'waiting:' .. name
  local left = usable('LLEN', waiting) or 0
  while left > 0 and removed_entries < MAX_REMOVED and bytes < MAX_BYTES do
    local entry = redis.call('LINDEX', waiting, 0)
    local stamp = #entry <= MAX_ENTRY and string.match(entry, '^(%d+) ')
    local waited = stamp and now - stamp
    if waited and waited <= max_age and waited >= -1000000 then break end
    redis.call('LTRIM', waiting, 1, -1)
    if #entry <= MAX_ENTRY then
      local id = string.match(entry, '^%d+ %d+ (.+)$')
      if id then redis.call('UNLINK', prefix .. 'frame:' .. name .. ':' .. id) end
    else
      bytes = bytes + #entry
    end
    left, removed_entries = left - 1, removed_entries + 1
    if stamp then stale = stale + 1 end
  end
  if left > 0 then keep(waiting) end
  return left
end

-- As many tokens as frames, also after a pod that held a token died. The first tokens of a stream stay.
local function restore_tokens()
  local kept, count = {}, {}
  for _, name in ipairs(list) do
    local own = (count[name] or 0) + 1
    if wanted[name] and own > wanted[name] then changed = true else kept[#kept + 1], count[name] = name, own end
  end
  if changed then redis.call('UNLINK', tokens) else kept = {} end
  local room = limit - (changed and #kept or all)
  for i = 1, #names do
    local name = names[i]
    local missing = math.min(room, (wanted[name] or 0) - (count[name] or 0))
    for _ = 1, missing do kept[#kept + 1] = name end
    if missing > 0 then room = room - missing end
  end
  for first = 1, #kept, 1000 do
    redis.call('RPUSH', tokens, unpack(kept, first, math.min(first + 999, #kept)))
  end
end

-- Legacy frames carry no time of arrival. So each run records how many had arrived by then (waiting + removed so far):
-- those that had arrived MAX_FRAME_AGE ago and are not removed yet are stale.
-- Returns the marks that are young enough, the time of the last one, and how many had arrived before them.
local function read_marks(text)
  local marks, last, arrived_before = {}, 0, 0
  for time, arrived in string.gmatch(string.sub(text, 1, 1024), '(%d+) (%d+)') do
    time, arrived = tonumber(time), tonumber(arrived)
    if time <= now + 1000000 then
      if now - time > max_age then arrived_before = math.max(arrived_before, arrived) else
        marks[#marks + 1] = string.format('%.0f %.0f', time, arrived)
        last = time
      end
    end
  end
  return marks, last, arrived_before
end

-- As in legacy.lua. Returns how many of the `left` frames it has removed.
local function bound_legacy_bytes(left)
  local removed = 0
  for _ = 1, 16 do
    local used = left > removed and redis.pcall('MEMORY', 'USAGE', legacy, 'SAMPLES', 0)
    if type(used) ~= 'number' or used <= legacy_bytes then break end
    local cut = math.max(1, math.floor((left - removed) * (1 - legacy_bytes / used)))
    redis.call('LTRIM', legacy, cut, -1)
    removed = removed + cut
  end
  return removed
end

-- Returns how many legacy frames were stale, and how many were too many.
local function trim_legacy()
  local waiting = usable('LLEN', legacy) or 0
  local noted = usable('HMGET', account, 'removed', 'marks') or {}
  local removed = tonumber(string.sub(noted[1] or '', 1, 32)) or 0
  local marks, last, arrived_before = read_marks(noted[2] or '')
  local old = math.min(waiting, math.max(0, arrived_before - removed))
  local surplus = math.max(0, waiting - old - depth)
  if old + surplus > 0 then redis.call('LTRIM', legacy, old + surplus, -1) end
  surplus = surplus + bound_legacy_bytes(waiting - old - surplus)
  local arrived = waiting + removed
  removed = removed + old + surplus
  if waiting > 0 or #marks > 0 then
    if arrived_before > 0 then
      table.insert(marks, 1, string.format('%.0f %.0f', now - max_age - 1000000, arrived_before))
    end
    if now - last >= max_age / 16 then marks[#marks + 1] = string.format('%.0f %.0f', now, arrived) end
    redis.call('HSET', account, 'removed', string.format('%.0f', removed), 'marks', table.concat(marks, ' '))
    redis.call('PEXPIRE', account, math.floor(max_age / 1000) + 60000)
  end
  return old, surplus
end

if locked() then return nil end
for i = 1, 4 do keep(KEYS[i]) end
read_tokens()
read_sources()
for i = 13, math.min(#ARGV, 12 + MAX_ADDED) do note(ARGV[i]) end
local looked = math.min(#names, most_names)
for i = 1, looked do
  local name = names[(start + i - 1) % #names + 1]
  wanted[name] = math.min(drop_stale(name), STREAM_DEPTH)
end
start = looked < #names and (start + looked) % #names or 0
if all == walked then restore_tokens() end
local old, over = trim_legacy()
stale = stale + old

add_drops('stale', stale)
add_drops('queue_full', over)
local full_claimed, stale_claimed = 0, 0
if unserved then full_claimed, stale_claimed = claim_drops() end
return {stale, over, start, source_start, full_claimed, stale_claimed}
