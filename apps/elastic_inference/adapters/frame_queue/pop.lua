#!lua flags=allow-oom
-- Hands waiting frames to a pod: renames them to taken:<pod>:<i>, and the same pipeline fetches them.
-- Must work when Redis is out of memory, since nothing else frees any. The text of number.lua goes before.
-- KEYS: tokens, dropped
-- ARGV: prefix, pod, frames wanted, MAX_FRAME_AGE in us, MAX_POP_BYTES, life of order in ms,
--       a token that a BLPOP took (or nothing)
-- Returns {tokens left, {reason, count, …}, {name, order, us waited, …}, time of this call in us, frames popped, drops
-- claimed}: the last two by all pods, in the life of the key `flow`; -1 if they are not known.
local tokens, dropped = KEYS[1], KEYS[2]
local prefix, pod, want, max_age = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local max_bytes, order_life = tonumber(ARGV[5]), tonumber(ARGV[6])

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
-- The rest is one piece: a function that sees many of these locals costs two commands with each call of the script.
local taken, bytes, stale, work, full = 0, 0, 0, 0, false
-- `counts`: how many frames of each stream were taken; nil for a stream that has had no turn yet.
local frames, counts, skip = {}, {}, {}
local frame_key, taken_key = prefix .. 'frame:', prefix .. 'taken:' .. pod .. ':'
local hand = ARGV[7] and {ARGV[7]}
local most, all, empty, stop = nil, nil, false, false
while not stop do
  if not hand then
    local count = want - taken
    if count <= 0 or empty then break end
    if count > 1 then
      if not most then
        -- As many samples as tokens in a hand: each token is in one of the first nodes of the list.
        local used = redis.pcall('MEMORY', 'USAGE', tokens, 'SAMPLES', MAX_HAND)
        most = type(used) == 'number' and used > MAX_HAND_BYTES and 1 or MAX_HAND
      end
      count = math.min(count, most)
    end
    hand = redis.pcall('LPOP', tokens, count) or {}
    if hand.err then
      redis.call('UNLINK', tokens)
      hand = {}
    end
    empty = #hand < count
  end
  for i = 1, #hand do
    local name = hand[i]
    work = work + 1
    stop = work > MAX_WORK
    if stop then
      -- The token is put back below.
    elseif #name > 128 then
      -- It is never put back, or the next call would come no further.
      work = work + math.floor(#name / 1024)
    elseif (skip[name] or 0) > 0 then
      skip[name] = skip[name] - 1
    elseif counts[name] or string.match(name, '^%w[%w._-]*$') then
      -- Takes the stream's oldest fresh frame. Stale ones are skipped within the same turn, so a slow stream keeps its
      -- share.
      counts[name] = counts[name] or 0
      local waiting = prefix .. 'waiting:' .. name
      local gone, used = 0, 0
      while used == 0 and not full and work <= MAX_WORK do
        local entry = redis.pcall('LPOP', waiting)
        if type(entry) ~= 'string' then
          if type(entry) == 'table' then redis.call('UNLINK', waiting) end
          break
        end
        work = work + 1
        local stamp, id, size
        if #entry <= MAX_ENTRY then
          stamp, id = string.match(entry, '^(%d+) %d+ (.+)$')
        else
          work = work + math.floor(#entry / 1024)
        end
        local waited = stamp and now - stamp
        local key = frame_key .. name .. ':' .. (id or '')
        if waited and waited <= max_age and waited >= -1000000 then
          -- The frame's own size, not the one that its producer gave. An older users.acl does not allow STRLEN.
          size = redis.pcall('STRLEN', key)
          if type(size) ~= 'number' then
            size = not string.match(size.err, '^WRONGTYPE') and tonumber(string.match(entry, ' (%d+) '))
          end
        end
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
      stop = full
    end
    if stop then
      local back = {}
      for j = i, #hand do
        local other = hand[j]
        if (skip[other] or 0) > 0 then
          skip[other] = skip[other] - 1
        else
          table.insert(back, 1, other)
        end
      end
      if #back > 0 then
        redis.call('LPUSH', tokens, unpack(back))
        empty = false
      end
      break
    end
  end
  hand = nil
end
local following = {}
for i = 1, #frames, 3 do
  local name = frames[i]
  local order = following[name]
  if not order then
    local count = counts[name]
    order = number(prefix .. 'order:' .. name, count, now, order_life) - count + 1
  end
  frames[i + 1], following[name] = order, order + 1
end
if stale > 0 then drops[#drops + 1], drops[#drops + 2] = 'stale', stale end

-- What all pods have popped and claimed, in one number: drops * 2^32 + frames. Older rights may lack HINCRBY.
local UNIT, MOST_DROPS, FLOW_LIFE, RENEWED = 4294967296, 1000000, 600000, 64
local flow, claimed = prefix .. 'flow', 0
-- Clients can raise the drops: more than this at once are not true.
for i = 2, #drops, 2 do claimed = math.min(MOST_DROPS, claimed + drops[i]) end
local more = taken + claimed * UNIT
local total = redis.pcall('HINCRBY', flow, 'total', more)
local popped, lost = -1, -1
if type(total) == 'number' and total >= 0 then
  popped = total % UNIT
  lost = (total - popped) / UNIT
end
if popped < 0 or lost > MOST_DROPS then
  -- Of another type, or about to be too large for Lua: it begins anew.
  redis.pcall('UNLINK', flow)
elseif total <= more or popped % RENEWED < taken then
  -- To renew the life costs as much as to count, so every 64th frame does it, and what may be the key's first.
  redis.pcall('PEXPIRE', flow, FLOW_LIFE)
end
return {empty and 0 or redis.call('LLEN', tokens), drops, frames, now, popped, lost}
