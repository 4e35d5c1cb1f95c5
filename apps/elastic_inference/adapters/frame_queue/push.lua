#!lua
-- Enters frames of one stream that the same pipeline has just SET. Out of memory, all are refused (OOM).
-- KEYS: tokens, waiting:<name>, dropped
-- ARGV: prefix, name, STREAM_QUEUE_DEPTH, TOKEN_LIMIT, '<bytes> <id>' of each frame, oldest first; then `size`, if the
--       producer asks which size of frames is needed
-- Returns how many frames (of any stream) were dropped as queue_full; they are added to `dropped`. If it was asked,
-- plus 4096 times: 0 (unknown), 1 (somebody watches), or width * 32768 + height of the models' input, plus 2^30 if
-- letterboxed.

-- All functions get what they need as arguments, as in pop.lua. No call removes more than MAX_REMOVED, or reads more
-- than MAX_BYTES and one entry, whatever other programs have put into the lists. What is left is for the next call. An
-- entry has some 50 bytes; a longer one than MAX_ENTRY is garbage.

-- Returns the list's new length. A key of the wrong type (from a foreign SET) is deleted.
local function append(list, ...)
  local length = redis.pcall('RPUSH', list, ...)
  if type(length) == 'number' then return length end
  if string.match(length.err, '^WRONGTYPE') then redis.call('UNLINK', list) end
  return redis.call('RPUSH', list, ...)
end

-- Drops the oldest `over` frames of this stream, and those of the oldest `cut` tokens. Returns how many frames there
-- were.
local function make_room(prefix, name, tokens, waiting, over, cut)
  local MAX_BYTES, MAX_ENTRY = 1048576, 512
  local gone, bytes = 0, 0
  local function discard(stream, entry)
    gone, bytes = gone + 1, bytes + #entry
    local id = #entry <= MAX_ENTRY and string.match(entry, '^%d+ %d+ (.+)$')
    if id then redis.call('UNLINK', prefix .. 'frame:' .. stream .. ':' .. id) end
  end
  -- One at a time: nobody knows how long an entry is before it is read.
  for _ = 1, over do
    discard(name, redis.call('LPOP', waiting))
    if bytes > MAX_BYTES then break end
  end
  for _ = 1, cut do
    if bytes > MAX_BYTES then break end
    local victim = redis.call('LPOP', tokens)
    if not victim then break end
    if #victim > 128 then
      bytes = bytes + #victim
    else
      local entry = redis.pcall('LPOP', prefix .. 'waiting:' .. victim)
      if type(entry) == 'string' then discard(victim, entry) end
    end
  end
  return gone
end

-- The keys are not declared, since EVALSHA would ask for the right to write them. Where an older users.acl does not
-- allow reading them, the size is unknown.
local function wanted_size(prefix, name)
  local watched = redis.pcall('GETRANGE', prefix .. 'want:' .. name, 0, 31)
  if type(watched) == 'string' and watched ~= '' then return 1 end
  local input = redis.pcall('GETRANGE', prefix .. 'want', 0, 31)
  local width, height, how = string.match(type(input) == 'string' and input or '', '^(%d+)x(%d+) (%a+)$')
  width, height = tonumber(width), tonumber(height)
  if not width or width < 1 or width > 16384 or height < 1 or height > 16384 then return 0 end
  return (how == 'letterbox' and 1073741824 or 0) + width * 32768 + height
end

local tokens, waiting, dropped = KEYS[1], KEYS[2], KEYS[3]
local prefix, name, depth, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local asked = ARGV[#ARGV] == 'size'
local count = #ARGV - (asked and 5 or 4)
local MAX_REMOVED, MAX_ENTRY, MAX_FRAMES = 1280, 512, 1024

-- They are repeated for each frame, so long ones would multiply.
if #name > 128 or #prefix > 256 or #tokens + #waiting + #dropped > 2048 then
  return redis.error_reply('ERR a name or key of the frame queue is too long')
end
if count < 1 or count > MAX_FRAMES then
  return redis.error_reply('ERR a push to the frame queue has 1 to 1024 frames')
end

local clock = redis.call('TIME')
local stamp, frame = string.format('%s%06d ', clock[1], clock[2]), prefix .. 'frame:' .. name .. ':'
local set, entries, match = {}, {}, string.match
for i = 1, count do
  local given = ARGV[i + 4]
  if #given > MAX_ENTRY then return redis.error_reply('ERR the id of a frame is too long') end
  entries[i] = stamp .. given
  set[i] = frame .. (match(given, '^%d+ (.+)$') or '')
end
-- At its limit, Redis can refuse a frame and then accept this script, since the refusal has freed memory. Nobody could
-- pop the entry of such a frame. An older users.acl does not allow EXISTS: then it is entered, and found stale.
local found = redis.pcall('EXISTS', unpack(set))
if type(found) == 'number' and found < count then
  return redis.error_reply('OOM the server has not kept all frames of this push')
end

local own = append(waiting, unpack(entries)) - count
local over = math.min(MAX_REMOVED, math.max(0, own + count - depth))
local add = math.max(0, count - over)
local all
if add == 1 then
  all = append(tokens, name)
elseif add > 1 then
  local names = {}
  for i = 1, add do names[i] = name end
  all = append(tokens, unpack(names))
else
  all = redis.pcall('LLEN', tokens)
  if type(all) ~= 'number' then
    redis.call('UNLINK', tokens)
    all = 0
  end
end
-- A pod that died with a token in hand left its frame without one. If the type had no token left, this stream's frames
-- get new ones.
if all == add and own > 0 then
  for _ = add + 1, math.min(MAX_REMOVED, own + count - over) do all = append(tokens, name) end
end
local cut = math.min(MAX_REMOVED, math.max(0, all - limit))

local gone = 0
if over + cut > 0 then gone = make_room(prefix, name, tokens, waiting, over, cut) end
if gone > 0 and type(redis.pcall('HINCRBY', dropped, 'queue_full', gone)) ~= 'number' then
  redis.call('UNLINK', dropped)
  redis.call('HINCRBY', dropped, 'queue_full', gone)
end
return asked and gone + 4096 * wanted_size(prefix, name) or gone
