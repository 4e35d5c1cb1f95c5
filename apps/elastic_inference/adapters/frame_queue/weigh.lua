#!lua flags=no-writes,allow-cross-slot-keys
-- How much memory keys take. They are no KEYS: Redis would ask for the right to read them, and frames may only be written.
-- ARGV: keys
-- Returns the bytes of each, 0 for one that is gone.
local found = {}
for i = 1, #ARGV do
  local bytes = redis.pcall('MEMORY', 'USAGE', ARGV[i])
  found[i] = type(bytes) == 'number' and bytes or 0
end
return found
