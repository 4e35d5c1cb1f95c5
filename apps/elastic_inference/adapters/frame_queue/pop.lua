#!lua flags=allow-oom
-- Hands waiting frames to a pod: renames them to taken:<pod>:<i>, and the same pipeline fetches them.
-- Must work when memory is out, since nothing else frees any.
-- KEYS: tokens, dropped
-- ARGV: prefix, pod, frames wanted, MAX_FRAME_AGE in us, MAX_POP_BYTES, life of order in ms,
--       a token that a BLPOP took (or nothing)
-- Returns {tokens left, {reason, count, …}, {name, order, us waited, …}}.
local tokens, dropped = KEYS[1], KEYS[2]
local prefix, pod, want, max_age = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local max_bytes, order_life = tonumber(ARGV[5]), ARGV[6]

-- A key of the wrong type (somebody's SET) would stall the type for good: it is deleted, here and below.
local drops = redis.pcall('HGETALL', dropped)
if drops.err then drops = {} redis.call('UNLINK', dropped) end
if #drops > 0 then redis.call('UNLINK', dropped) end

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local taken, bytes, stale, full = 0, 0, 0, false
local frames = {}
local skip = {}

-- The stream's next number: without gaps while the counter lives, and starting from the clock where there is none.
local kept = {}
local function number(name)
  local key = prefix .. 'order:' .. name
  local order = redis.pcall('INCR', key)
  if type(order) ~= 'number' or order == 1 then
    order = now
    redis.call('SET', key, string.format('%.0f', now), 'PX', order_life)
  elseif not kept[name] then
    redis.call('PEXPIRE', key, order_life)
  end
  kept[name] = true
  return order
end

-- Takes the stream's oldest fresh frame. Stale ones are skipped within the same turn, so a slow stream keeps its share.
local function take(name)
  local waiting = prefix .. 'waiting:' .. name
  local gone, used = 0, 0
  while used == 0 and not full do
    local entry = redis.pcall('LPOP', waiting)
    if type(entry) ~= 'string' then
      if type(entry) == 'table' then redis.call('UNLINK', waiting) end
      break
    end
    local stamp, size, id = string.match(entry, '^(%d+) (%d+) (.+)$')
    local waited = stamp and now - stamp
    local key = prefix .. 'frame:' .. name .. ':' .. (id or '')
    size = tonumber(size)
    if not waited or waited > max_age then
      redis.call('UNLINK', key)
      gone = gone + 1
    elseif taken > 0 and bytes + size > max_bytes then
      redis.call('LPUSH', waiting, entry)
      full = true
    elseif redis.pcall('RENAME', key, prefix .. 'taken:' .. pod .. ':' .. taken).err then
      -- It has expired.
      gone = gone + 1
    else
      frames[taken * 3 + 1], frames[taken * 3 + 2], frames[taken * 3 + 3] = name, number(name), math.max(0, waited)
      taken, bytes, used = taken + 1, bytes + size, 1
    end
  end
  stale = stale + gone
  -- As many tokens as frames: this turn's token stands for one frame that left, unless it is put back.
  local surplus = full and gone or gone + used - 1
  if surplus > 0 then
    skip[name] = (skip[name] or 0) + surplus - redis.call('LREM', tokens, -surplus, name)
  end
end

local function next_tokens(count)
  if count <= 0 then return false end
  local found = redis.pcall('LPOP', tokens, count)
  if found and found.err then
    redis.call('UNLINK', tokens)
    return false
  end
  return found
end

local hand = ARGV[7] and {ARGV[7]} or next_tokens(want)
while hand do
  for i, name in ipairs(hand) do
    if not full then
      if (skip[name] or 0) > 0 then skip[name] = skip[name] - 1 else take(name) end
    end
    if full then
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
  hand = not full and next_tokens(want - taken)
end
if stale > 0 then drops[#drops + 1], drops[#drops + 2] = 'stale', stale end
return {redis.call('LLEN', tokens), drops, frames}
