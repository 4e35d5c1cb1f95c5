#!lua flags=allow-oom
-- Hands waiting frames to a pod: renames them to taken:<pod>:<i>, and the same pipeline fetches them.
-- Must work when Redis is out of memory, since nothing else frees any.
-- KEYS: tokens, dropped
-- ARGV: prefix, pod, frames wanted, MAX_FRAME_AGE in us, MAX_POP_BYTES, life of order in ms,
--       a token that a BLPOP took (or nothing)
-- Returns {tokens left, {reason, count, …}, {name, order, us waited, …}, time of this call in us, frames popped, drops
-- claimed}: the last two by all pods, in the life of the key `flow`; -1 if they are not known.
local tokens, dropped = KEYS[1], KEYS[2]
local prefix, pod, want, max_age = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local max_bytes, order_life = tonumber(ARGV[5]), ARGV[6]

-- Clients write these keys too. So names and numbers are checked, one call does a bounded amount of work, and a key of
-- the wrong type (from a foreign SET), which would stall the type for good, is deleted, here and below.
-- A kilobyte of garbage counts as one step of the work.
local MAX_WORK, MAX_HAND, MAX_ENTRY, MAX_HAND_BYTES = 4096, 256, 512, 8388608
local drops = {}
if redis.call('EXISTS', dropped) == 1 then
  for _, reason in ipairs({'queue_full', 'stale'}) do
    -- HINCRBY returns an integer or an error, whatever the field holds.
    local count = redis.pcall('HINCRBY', dropped, reason, 0)
    if type(count) == 'number' and count > 0 then drops[#drops + 1], drops[#drops + 2] = reason, count end
  end
  redis.call('UNLINK', dropped)
end

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local taken, bytes, stale, work, full = 0, 0, 0, 0, false
local all
local frames = {}
local skip = {}

-- The first of the stream's next numbers: without gaps while the counter lives, and starting from the clock where there
-- is none.
local function number(name, count)
  local key = prefix .. 'order:' .. name
  local last = redis.pcall('INCRBY', key, count)
  if type(last) ~= 'number' or last == count then
    last = now + count - 1
    redis.call('SET', key, string.format('%.0f', last), 'PX', order_life)
  else
    redis.call('PEXPIRE', key, order_life)
  end
  return last - count + 1
end

-- How many frames of each stream were taken; nil for a stream that has had no turn yet.
local counts = {}
-- Takes the stream's oldest fresh frame. Stale ones are skipped within the same turn, so a slow stream keeps its share.
local function take(name)
  if not counts[name] then
    if not string.match(name, '^%w[%w._-]*$') then return end
    counts[name] = 0
  end
  local waiting = prefix .. 'waiting:' .. name
  local gone, used = 0, 0
  while used == 0 and not full and work <= MAX_WORK do
    local entry = redis.pcall('LPOP', waiting)
    if type(entry) ~= 'string' then
      if type(entry) == 'table' then redis.call('UNLINK', waiting) end
      break
    end
    work = work + 1
    local stamp, size, id
    if #entry <= MAX_ENTRY then
      stamp, size, id = string.match(entry, '^(%d+) (%d+) (.+)$')
    else
      work = work + math.floor(#entry / 1024)
    end
    local waited = stamp and now - stamp
    local key = prefix .. 'frame:' .. name .. ':' .. (id or '')
    if waited and waited <= max_age and waited >= -1000000 then
      -- The frame's own size, not the one that its producer gave. An older users.acl does not allow STRLEN.
      local length = redis.pcall('STRLEN', key)
      if type(length) == 'number' then size = length elseif string.match(length.err, '^WRONGTYPE') then size = nil end
      size = tonumber(size)
    else
      size = nil
    end
    if not size then
      redis.call('UNLINK', key)
      gone = gone + 1
    elseif taken > 0 and bytes + size > max_bytes then
      redis.call('LPUSH', waiting, entry)
      full = true
    elseif redis.pcall('RENAME', key, prefix .. 'taken:' .. pod .. ':' .. taken).err then
      -- It has expired.
      gone = gone + 1
    else
      frames[taken * 3 + 1], frames[taken * 3 + 2], frames[taken * 3 + 3] = name, 0, math.max(0, waited)
      taken, bytes, used = taken + 1, bytes + size, 1
      counts[name] = counts[name] + 1
    end
  end
  stale = stale + gone
  -- As many tokens as frames: this turn's token stands for one frame that left, unless it is put back.
  local surplus = full and gone or gone + used - 1
  if surplus > 0 then
    all = all or redis.call('LLEN', tokens)
    work = work + 1 + math.floor(all / 32)
    skip[name] = (skip[name] or 0) + surplus - redis.call('LREM', tokens, -surplus, name)
  end
end

local most = nil
local function next_tokens(count)
  if count <= 0 then return false end
  if count > 1 and not most then
    -- As many samples as tokens in a hand: each token is in one of the first nodes of the list.
    local used = redis.pcall('MEMORY', 'USAGE', tokens, 'SAMPLES', MAX_HAND)
    most = type(used) == 'number' and used > MAX_HAND_BYTES and 1 or MAX_HAND
  end
  local found = redis.pcall('LPOP', tokens, math.min(count, most or 1))
  if found and found.err then
    redis.call('UNLINK', tokens)
    return false
  end
  return found
end

local hand = ARGV[7] and {ARGV[7]} or next_tokens(want)
while hand do
  local stop = false
  for i, name in ipairs(hand) do
    work = work + 1
    stop = work > MAX_WORK
    if not stop then
      if #name > 128 then
        -- It is never put back, or the next call would come no further.
        work = work + math.floor(#name / 1024)
      elseif (skip[name] or 0) > 0 then
        skip[name] = skip[name] - 1
      else
        take(name)
      end
      stop = full
    end
    if stop then
      local back = {}
      for j = i, #hand do
        if (skip[hand[j]] or 0) > 0 then
          skip[hand[j]] = skip[hand[j]] - 1
        else
          table.insert(back, 1, hand[j])
        end
      end
      if #back > 0 then redis.call('LPUSH', tokens, unpack(back)) end
      break
    end
  end
  hand = not stop and next_tokens(want - taken)
end
local following = {}
for i = 1, #frames, 3 do
  local name = frames[i]
  local order = following[name] or number(name, counts[name])
  frames[i + 1], following[name] = order, order + 1
end
if stale > 0 then drops[#drops + 1], drops[#drops + 2] = 'stale', stale end

-- What all pods have popped and claimed. Older rights may lack these commands.
local function count_flow()
  local flow, most, life, renewed = prefix .. 'flow', 1000000, 600000, 64
  local claimed = 0
  -- Clients can raise the drops: more than `most` at once are not true.
  for i = 2, #drops, 2 do claimed = math.min(most, claimed + drops[i]) end
  local popped = redis.pcall('HINCRBY', flow, 'popped', taken)
  local lost = redis.pcall('HINCRBY', flow, 'dropped', claimed)
  if type(popped) ~= 'number' or type(lost) ~= 'number' then
    redis.pcall('UNLINK', flow)
    return -1, -1
  end
  -- To renew the life costs as much as to count, so every 64th frame does it, and what may be the key's first.
  if popped <= taken or lost <= claimed and claimed > 0 or popped % renewed < taken then
    redis.pcall('PEXPIRE', flow, life)
  end
  return popped, lost
end

return {redis.call('LLEN', tokens), drops, frames, now, count_flow()}
