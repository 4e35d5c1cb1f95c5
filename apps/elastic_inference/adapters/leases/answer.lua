-- The last part of the lease script: writes what has changed, and answers. `lease.lua` describes rows and answer.
local holds, leaving = {}, {}
for name, row in pairs(held) do
  if row.worker == me then
    local n = #holds
    holds[n + 1], holds[n + 2] = name, whole(row.epoch)
    holds[n + 3] = whole(wanted[name] and wanted[name].revision or 0)
    holds[n + 4] = math.max(0, math.floor((row.quarantine - now) / 1000))
  elseif row.former == me and row.left > 0 and now - row.left < LEAVING then
    leaving[#leaving + 1] = name
  end
end

local pending = {}
local function write(key, field, row)
  pending[#pending + 1], pending[#pending + 2] = field, row
  if #pending >= 1000 then
    redis.call('HSET', key, unpack(pending))
    pending = {}
  end
end
local function flush(key)
  if #pending > 0 then redis.call('HSET', key, unpack(pending)) end
  pending = {}
end
local function drop(key, fields)
  for first = 1, #fields, 1000 do redis.call('HDEL', key, unpack(fields, first, math.min(first + 999, #fields))) end
end

local fields = {}
for name in pairs(removed) do
  if not changed[name] then fields[#fields + 1] = name end
end
drop(leases_key, fields)
drop(workers_key, workers_removed)
for name in pairs(changed) do
  local row = held[name]
  if row then
    write(leases_key, name, string.format('%.0f %s %.6f %.0f %.0f %s %.0f', row.epoch, row.worker, row.cost, row.moved,
      row.quarantine, row.former, row.left))
  end
end
write(leases_key, ':epoch', whole(highest))
if look and command == 'renew' then
  for i = 1, math.min(#no_worker, MAX_FREE - #still_free) do still_free[#still_free + 1] = no_worker[i] end
  local free = table.concat(still_free, ' ')
  if free ~= free_before then write(leases_key, ':free', free) end
end
flush(leases_key)
local function write_worker(id)
  local worker = alive[id]
  write(workers_key, id, string.format('%.0f %.6f %.6f %d %.0f %.6f %d', worker.seen, worker.capacity, worker.used,
    worker.draining and 1 or 0, worker.life, math.max(0, worker.load), math.max(0, worker.count)))
end
for id in pairs(workers_changed) do
  if alive[id] and id ~= me then write_worker(id) end
end
if leave_all then
  redis.call('HDEL', workers_key, me)
  alive[me] = nil
elseif command == 'renew' then
  write_worker(me)
end
-- A look follows at once, so that other workers find the released items.
if look then write(workers_key, ':looked', command == 'release' and '0' or whole(now)) end
if not born then write(workers_key, ':born', whole(now)) end
write(workers_key, ':clock', whole(now))
flush(workers_key)
-- Leases are kept for longer than any quarantine. Rows of workers mean nothing once no worker is left.
redis.call('PEXPIRE', leases_key, 2 * DAY / 1000)
redis.call('PEXPIRE', workers_key, 600000)

local seen = {}
for id, worker in pairs(alive) do
  local n = #seen
  seen[n + 1], seen[n + 2] = id, math.floor((now - worker.seen) / 1000)
  seen[n + 3], seen[n + 4] = tostring(worker.capacity), tostring(worker.used)
  seen[n + 5], seen[n + 6], seen[n + 7] = tostring(worker.load), worker.count, worker.draining and 1 or 0
end
return {known and 1 or 0, whole(highest), holds, leaving, seen, unassigned}
