#!lua flags=allow-oom
-- Takes or renews the lock of the owner of the cameras. Returns 1 if ARGV[1] holds it now, else 0.
-- KEYS: the lock. ARGV: the owner's name, what is wrong (may be empty), life in ms.
local held = redis.pcall('get', KEYS[1])
if type(held) == 'table' then -- a foreign program has written a key of the wrong type
    redis.call('unlink', KEYS[1])
    held = false
end
local mine = ARGV[1] .. '\n'
if held and string.sub(held, 1, #mine) ~= mine then
    return 0
end
redis.call('set', KEYS[1], mine .. ARGV[2], 'px', ARGV[3])
return 1
