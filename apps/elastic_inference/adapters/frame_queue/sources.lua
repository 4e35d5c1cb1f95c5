#!lua flags=no-writes
-- Reads the reports of one type's producers. Producers write these keys: sizes are checked before anything is read.
-- KEYS: sources
-- ARGV: prefix, oldest and newest time last seen in ms, how many at most
-- Returns {name, time last seen, state, fps, reconnects, dropped, …}, the latest first.
local prefix, oldest, newest, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local FIELDS, MAX_BYTES = {'state', 'fps', 'reconnects', 'dropped'}, 256
-- Reading a set of more or longer names than this could take all memory. The janitor trims or removes it within a
-- second. Older rights lack MEMORY USAGE: then only the number is bounded.
local MAX_NAMES, MAX_SET_BYTES = 16384, 12582912
local beyond = redis.pcall('ZRANGE', KEYS[1], MAX_NAMES, MAX_NAMES)
if #beyond > 0 then return {} end
local used = not beyond.err and redis.pcall('MEMORY', 'USAGE', KEYS[1], 'SAMPLES', 0)
if type(used) == 'number' and used > MAX_SET_BYTES then return {} end
local seen = redis.pcall('ZRANGE', KEYS[1], newest, oldest, 'BYSCORE', 'REV', 'LIMIT', 0, most, 'WITHSCORES')
-- The janitor removes a key of the wrong type.
if seen.err then return string.match(seen.err, '^WRONGTYPE') and {} or seen end
local found = {}
for i = 1, #seen, 2 do
  local name = seen[i]
  if #name <= 128 and string.match(name, '^%w[%w._-]*$') then
    local key, bytes = prefix .. 'source:' .. name, 0
    for j = 1, #FIELDS do
      local length = redis.pcall('HSTRLEN', key, FIELDS[j])
      -- An older users.acl does not allow HSTRLEN.
      if type(length) == 'number' then bytes = bytes + length end
    end
    if bytes <= MAX_BYTES then
      local values = redis.pcall('HMGET', key, unpack(FIELDS))
      if not values.err and (values[1] or values[2] or values[3] or values[4]) then
        found[#found + 1], found[#found + 2] = name, seen[i + 1]
        for j = 1, #FIELDS do found[#found + 1] = values[j] end
      end
    end
  end
end
return found
