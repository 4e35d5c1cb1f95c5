#!lua flags=allow-oom
-- Hands waiting frames to a pod: renames them to taken:<pod>:<i>, which the pod fetches in the same pipeline.
-- Must work when memory is out, since nothing else frees any.
-- KEYS: tokens, queue_<type>, dropped, plain
-- ARGV: prefix, pod, frames wanted, MAX_FRAME_AGE in us, MAX_POP_BYTES, life of order in ms, QUEUE_DEPTH,
--       plain frames popped since the last call, '1' and a token that a BLPOP took (or nothing)
-- Returns {tokens left, plain frames left, {reason, count, …}, {name, order, us waited, …}}.
local tokens, plain, dropped, account = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, pod, want, max_age = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local max_bytes, order_life, depth = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])

-- A key of the wrong type (somebody's SET) would stall the type for good: it goes.
local function length(key)
  local found = redis.pcall('LLEN', key)
  if type(found) == 'number' then return found end
  redis.call('UNLINK', key)
  return 0
end
local plain_left = length(plain)
local drops = redis.pcall('HGETALL', dropped)
if drops.err then drops = {} redis.call('UNLINK', dropped) end
if #drops > 0 then redis.call('UNLINK', dropped) end
local removed = tonumber(ARGV[8])
if plain_left > depth then
  redis.call('LTRIM', plain, -depth, -1)
  drops[#drops + 1], drops[#drops + 2] = 'queue_full', plain_left - depth
  removed = removed + plain_left - depth
  plain_left = depth
end
if removed > 0 and type(redis.pcall('HINCRBY', account, 'removed', removed)) ~= 'number' then
  redis.call('UNLINK', account)
end

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local taken, bytes, stale, full = 0, 0, 0, false
local frames = {}
local skip = {}

-- The stream's next number: gapless while the counter lives, from the clock where there is none.
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

-- Takes the stream's oldest frame that is fresh. A turn passes over stale frames, so that a slow stream keeps its share.
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
  -- As many tokens as frames: of those that went, this turn's token pays for one (unless it is put back).
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

local hand = ARGV[9] and {ARGV[10]} or next_tokens(want)
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
return {redis.call('LLEN', tokens), plain_left, drops, frames}
