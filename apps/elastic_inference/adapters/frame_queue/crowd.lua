#!lua flags=allow-oom
-- Gives every second turn of a type to the streams outside a crowd. A crowd is a group of more streams than a group may
-- have; the streams of a group have names that begin alike, up to the first hyphen. Without this, a login that may push
-- under one such beginning could take nearly all turns with made-up names.
-- KEYS: tokens, dropped
-- ARGV: prefix, TOKEN_LIMIT, how many streams a group may have
-- Returns {the group of the first crowd, or '' if nothing had to be done, frames dropped as queue_full}; the frames are
-- added to `dropped`.
local tokens, dropped = KEYS[1], KEYS[2]
local prefix, limit, most_streams = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
-- As in janitor.lua. A longer list, which a higher TOKEN_LIMIT allows, is left as it is.
local MAX_TOKENS, SLICE, NAME_BYTES, MAX_ENTRY = 8192, 512, 768, 512

-- Returns the names of the tokens, nil if there are too few for a crowd or too many. The janitor deletes a key of the
-- wrong type, and a list that is too large for names.
local function read_names()
  local all = redis.pcall('LLEN', tokens)
  if type(all) ~= 'number' or all <= most_streams then return nil end
  if all > limit then
    redis.call('LTRIM', tokens, 0, limit - 1)
    all = limit
  end
  local used = redis.pcall('MEMORY', 'USAGE', tokens, 'SAMPLES', 0)
  if all > MAX_TOKENS or (type(used) == 'number' and used > 4096 + all * NAME_BYTES) then return nil end
  local names = {}
  for first = 0, all - 1, SLICE do
    for _, name in ipairs(redis.call('LRANGE', tokens, first, math.min(first + SLICE, all) - 1)) do
      if #name <= 128 and string.match(name, '^%w[%w._-]*$') then names[#names + 1] = name end
    end
  end
  return names
end

-- Returns the tokens of crowds, all others, and the group of the first crowd.
local function divide(names)
  local seen, streams, groups = {}, {}, {}
  for i, name in ipairs(names) do
    local group = string.match(name, '^[^-]*')
    groups[i] = group
    if not seen[name] then seen[name], streams[group] = true, (streams[group] or 0) + 1 end
  end
  local crowd, others, first = {}, {}, nil
  for i, name in ipairs(names) do
    if streams[groups[i]] > most_streams then
      crowd[#crowd + 1], first = name, first or groups[i]
    else
      others[#others + 1] = name
    end
  end
  return crowd, others, first
end

-- Drops the frames of the first `count` tokens. Returns how many frames there were.
local function drop(crowd, count)
  local gone = 0
  for i = 1, count do
    local entry = redis.pcall('LPOP', prefix .. 'waiting:' .. crowd[i])
    if type(entry) == 'string' then
      gone = gone + 1
      local id = #entry <= MAX_ENTRY and string.match(entry, '^%d+ %d+ (.+)$')
      if id then redis.call('UNLINK', prefix .. 'frame:' .. crowd[i] .. ':' .. id) end
    end
  end
  if gone > 0 and type(redis.pcall('HINCRBY', dropped, 'queue_full', gone)) ~= 'number' then
    redis.call('UNLINK', dropped)
    redis.call('HINCRBY', dropped, 'queue_full', gone)
  end
  return gone
end

-- Returns the tokens of both sides in turn, those of the crowd from `next_crowd` on. Either side is first half of the
-- time: slow pods take a single token between two calls.
local function alternate(crowd, next_crowd, others)
  local order, next_other = {}, 1
  local crowd_next = redis.call('TIME')[2] % 2 == 0
  while next_crowd <= #crowd or next_other <= #others do
    if next_other > #others or (crowd_next and next_crowd <= #crowd) then
      order[#order + 1], next_crowd = crowd[next_crowd], next_crowd + 1
    else
      order[#order + 1], next_other = others[next_other], next_other + 1
    end
    crowd_next = not crowd_next
  end
  return order
end

local names = read_names()
if not names then return {'', 0} end
local crowd, others, first_crowd = divide(names)
if #crowd == 0 or #others == 0 then return {'', 0} end
-- Pushes to a full list drop what waits at its front, where the others are about to be.
local cut = 0
if #names > limit * 3 / 4 then cut = math.max(0, #crowd - math.floor(limit / 2)) end
local gone = drop(crowd, cut)
local order = alternate(crowd, cut + 1, others)
redis.call('UNLINK', tokens)
for first = 1, #order, 1000 do
  redis.call('RPUSH', tokens, unpack(order, first, math.min(first + 999, #order)))
end
return {first_crowd, gone}
