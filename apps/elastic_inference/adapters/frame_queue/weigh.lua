#!lua flags=no-writes,allow-cross-slot-keys
-- How much memory keys take. They are not given as KEYS: Redis would then ask for the right to read them, and the
-- caller may only write frames.
-- ARGV: keys
-- Returns the bytes of each, 0 for a key that does not exist.
if #ARGV > 16384 then return redis.error_reply('ERR too many keys') end
local found = {}
for i = 1, #ARGV do
  local bytes = redis.pcall('MEMORY', 'USAGE', ARGV[i])
  found[i] = type(bytes) == 'number' and bytes or 0
end
return found
