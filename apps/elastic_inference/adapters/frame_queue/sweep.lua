#!lua flags=allow-oom,allow-cross-slot-keys
-- Gives keys an expiry. They are no KEYS: Redis would ask for the right to read them, and frames may only be written.
-- ARGV: LT (only keys without an expiry, or with a later one) or XX (only keys with one), life in ms, keys
-- Returns how many got it. Refused keys are left out: an older users.acl lacks rights to some.
local given = 0
for i = 3, #ARGV do
  if redis.pcall('PEXPIRE', ARGV[i], ARGV[2], ARGV[1]) == 1 then given = given + 1 end
end
return given
