#!lua flags=allow-oom
-- Numbers legacy frames, whose stream is known only once a pod has unpacked them. The text of number.lua goes before.
-- KEYS: order:<name> of each stream
-- ARGV: life of order in ms, how many numbers for each
-- Returns the last number of each stream; its numbers are consecutive.
if #KEYS > 4096 then return redis.error_reply('ERR too many streams') end
local clock = redis.call('TIME')
local now, life = clock[1] * 1000000 + clock[2], tonumber(ARGV[1])
local last = {}
for i, key in ipairs(KEYS) do last[i] = number(key, tonumber(ARGV[i + 1]), now, life) end
return last
