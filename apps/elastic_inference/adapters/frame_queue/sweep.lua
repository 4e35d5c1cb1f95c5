#!lua flags=allow-oom,allow-cross-slot-keys
-- Gives keys an expiry. They are not declared as KEYS: Redis would then ask for the right to read them, but
-- the caller may only write frames.
-- ARGV: LT (only keys without an expiry, or with a later one), NX (only those without) or XX (only those with one),
--       life in ms, keys
-- Returns how many keys got it. Keys that Redis refuses are skipped: an older users.acl lacks the right to some.
if #ARGV > 16384 then return redis.error_reply('ERR too many keys') end
local given = 0
for i = 3, #ARGV do
  if redis.pcall('PEXPIRE', ARGV[i], ARGV[2], ARGV[1]) == 1 then given = given + 1 end
end
return given
