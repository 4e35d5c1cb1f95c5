#!lua flags=allow-oom
-- Hands waiting frames to a pod: renames them to taken:<pod>:<i>, and the same pipeline fetches them.
-- Must work when Redis is out of memory, since nothing else frees any. The text of number.lua goes before.
-- KEYS: tokens, dropped
-- ARGV: prefix, pod, frames wanted, MAX_FRAME_AGE in us, MAX_POP_BYTES, life of order in ms,
--       a token that a BLPOP took (or nothing)
-- Returns {tokens left, {reason, count, …}, {name, order, us waited, …}, time of this call in us, frames popped, drops
-- claimed}: the last two by all pods, in the life of the key `flow`; -1 if they are not known.
-- Clients write these keys too. So names and numbers are checked, one call does a bounded amount of work, and a key of
-- the wrong type (from a foreign SET), which would stall the type for good, is deleted, here and below.
-- A kilobyte of garbage counts as one step of the work.
-- All functions get what they need as arguments: one that sees locals of this script costs as much as a command or two,
-- each time that the script is called.

local function claim_drops(dropped)
  local drops = {}
  if redis.call('EXISTS', dropped) == 0 then return drops end
  for _, reason in ipairs({'queue_full', 'stale'}) do
    -- HINCRBY returns an integer or an error, whatever the field holds.
    local count = redis.pcall('HINCRBY', dropped, reason, 0)
    if type(count) == 'number' and count > 0 then drops[#drops + 1], drops[#drops + 2] = reason, count end
  end
  redis.call('UNLINK', dropped)
  return drops
end

-- Takes tokens. Returns them, and how many one call may take: 1 if they are too large for names.
local function take_tokens(tokens, count, most)
  local MAX_HAND, MAX_HAND_BYTES = 256, 8388608
  if count > 1 then
    if not most then
      -- As many samples as tokens in a hand: each token is in one of the first nodes of the list.
      local used = redis.pcall('MEMORY', 'USAGE', tokens, 'SAMPLES', MAX_HAND)
      -- A camera may run this script too, but not measure: it could have put gigabytes into the list.
      most = type(used) == 'number' and used <= MAX_HAND_BYTES and MAX_HAND or 1
    end
    count = math.min(count, most)
  end
  local hand = redis.pcall('LPOP', tokens, count) or {}
  if hand.err then
    redis.call('UNLINK', tokens)
    hand = {}
  end
  return hand, most, #hand < count
end

-- Puts the tokens from number `first` on back, but those that are to be skipped. Returns whether there were any.
local function put_back(tokens, hand, first, skip)
  local back = {}
  for i = first, #hand do
    local name = hand[i]
    if (skip[name] or 0) > 0 then
      skip[name] = skip[name] - 1
    else
      table.insert(back, 1, name)
    end
  end
  if #back > 0 then redis.call('LPUSH', tokens, unpack(back)) end
  return #back > 0
end

-- Takes a stream's oldest entry. Returns it (nil if there is none), the frame's key, how long it has waited, its size
-- (nil if it cannot be used), and the work that this was.
local function take_entry(waiting, frame_key, now, max_age)
  local MAX_ENTRY = 512
  local entry = redis.pcall('LPOP', waiting)
  if type(entry) ~= 'string' then
    if type(entry) == 'table' then redis.call('UNLINK', waiting) end
    return nil
  end
  local stamp, id, size
  local work = 1
  if #entry <= MAX_ENTRY then
    stamp, id = string.match(entry, '^(%d+) %d+ (.+)$')
  else
    work = 1 + math.floor(#entry / 1024)
  end
  local waited = stamp and now - stamp
  local key = frame_key .. (id or '')
  if waited and waited <= max_age and waited >= -1000000 then
    -- The frame's own size, not the one that its producer gave. An older users.acl does not allow STRLEN.
    size = redis.pcall('STRLEN', key)
    if type(size) ~= 'number' then
      size = not string.match(size.err, '^WRONGTYPE') and tonumber(string.match(entry, ' (%d+) '))
    end
  end
  return entry, key, waited, size, work
end

-- Writes into `frames` the numbers of all frames; those of a stream follow each other.
local function number_frames(number, frames, counts, order_key, now, life)
  local following = {}
  for i = 1, #frames, 3 do
    local name = frames[i]
    local order = following[name] or number(order_key .. name, counts[name], now, life) - counts[name] + 1
    frames[i + 1], following[name] = order, order + 1
  end
end

-- Counts what all pods have popped and claimed, in one number: drops * 2^32 + frames. Returns both, -1 if they are not
-- known: older rights may lack HINCRBY.
local function count_flow(flow, taken, drops)
  local UNIT, MOST_DROPS, LIFE, RENEWED = 4294967296, 1000000, 600000, 64
  local claimed = 0
  -- Clients can raise the drops: more than MOST_DROPS at once are not true.
  for i = 2, #drops, 2 do claimed = math.min(MOST_DROPS, claimed + drops[i]) end
  local more = taken + claimed * UNIT
  local total = redis.pcall('HINCRBY', flow, 'total', more)
  if type(total) ~= 'number' or total < 0 then
    redis.pcall('UNLINK', flow)
    return -1, -1
  end
  local popped = total % UNIT
  local lost = (total - popped) / UNIT
  if lost > MOST_DROPS then
    -- It is about to be too large for Lua, so it begins anew.
    redis.pcall('UNLINK', flow)
  elseif total <= more or popped % RENEWED < taken then
    -- To renew the life costs as much as to count, so every 64th frame does it, and what may be the key's first.
    redis.pcall('PEXPIRE', flow, LIFE)
  end
  return popped, lost
end

local tokens, prefix, want, max_age = KEYS[1], ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local MAX_WORK, max_bytes = 4096, tonumber(ARGV[5])
local drops, clock = claim_drops(KEYS[2]), redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local taken, bytes, stale, work, full = 0, 0, 0, 0, false
-- `counts`: how many frames of each stream were taken; nil for a stream that has had no turn yet.
local frames, counts, skip, taken_key = {}, {}, {}, prefix .. 'taken:' .. ARGV[2] .. ':'
local hand, most, all, empty, stop = ARGV[7] and {ARGV[7]}, nil, nil, false, false
while not stop do
  if not hand then
    if taken >= want or empty then break end
    hand, most, empty = take_tokens(tokens, want - taken, most)
  end
  for i = 1, #hand do
    local name = hand[i]
    work = work + 1
    stop = work > MAX_WORK
    if not stop and #name > 128 then
      -- It is never put back, or the next call would come no further.
      work = work + math.floor(#name / 1024)
    elseif not stop and (skip[name] or 0) > 0 then
      skip[name] = skip[name] - 1
    elseif not stop and (counts[name] or string.match(name, '^%w[%w._-]*$')) then
      -- Takes the stream's oldest fresh frame. Stale ones are skipped within the same turn, so a slow stream keeps its
      -- share.
      counts[name] = counts[name] or 0
      local waiting, frame_key, gone, used = prefix .. 'waiting:' .. name, prefix .. 'frame:' .. name .. ':', 0, 0
      while used == 0 and not full and work <= MAX_WORK do
        local entry, key, waited, size, cost = take_entry(waiting, frame_key, now, max_age)
        if not entry then break end
        work = work + cost
        if not size then
          redis.call('UNLINK', key)
          gone = gone + 1
        elseif taken > 0 and bytes + size > max_bytes then
          redis.call('LPUSH', waiting, entry)
          full = true
        elseif redis.pcall('RENAME', key, taken_key .. taken).err then
          -- It has expired.
          gone = gone + 1
        else
          local at = taken * 3
          frames[at + 1], frames[at + 2], frames[at + 3] = name, 0, math.max(0, waited)
          taken, bytes, used, counts[name] = taken + 1, bytes + size, 1, counts[name] + 1
        end
      end
      stale, stop = stale + gone, full
      -- As many tokens as frames: this turn's token stands for one frame that left, unless it is put back.
      local surplus = full and gone or gone + used - 1
      if surplus > 0 then
        all = all or redis.call('LLEN', tokens)
        work = work + 1 + math.floor(all / 32)
        skip[name] = (skip[name] or 0) + surplus - redis.call('LREM', tokens, -surplus, name)
      end
    end
    if stop then
      if put_back(tokens, hand, i, skip) then empty = false end
      break
    end
  end
  hand = nil
end
number_frames(number, frames, counts, prefix .. 'order:', now, tonumber(ARGV[6]))
if stale > 0 then drops[#drops + 1], drops[#drops + 2] = 'stale', stale end
return {empty and 0 or redis.call('LLEN', tokens), drops, frames, now, count_flow(prefix .. 'flow', taken, drops)}
