-- Replaces the wish of an inference type if it is still what the caller has read.
-- KEYS: the wish. ARGV: the wish as it was read, empty if there was none; the new one. Returns 1 if it was replaced.
-- A value of another type is no wish, and is replaced.
local found = redis.pcall('GET', KEYS[1])
if (type(found) == 'string' and found or '') ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
