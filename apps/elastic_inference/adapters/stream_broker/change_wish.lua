-- Replaces the wish of an inference type if it is still what the caller has read.
-- KEYS: the wish. ARGV: the wish as it was read, empty if there was none; the new one. Returns 1 if it was replaced.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
