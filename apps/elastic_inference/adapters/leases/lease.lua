#!lua flags=allow-oom
-- One round of one worker: renews its leases, finds free items, claims its share of them, and rebalances the load.
-- There is no leader: each worker runs this script for itself. A *look* reads all items. Workers take turns in looking,
-- so that looks keep Redis busy for only a few per cent of the time. The rounds between read only the caller's items,
-- and those that the last look found free.
-- The texts of `assign.lua` and `answer.lua` follow this one: Redis runs all three as one script.
-- KEYS: leases, workers
-- ARGV: key of the wanted items, `renew` or `release`, worker (<name>:<incarnation>), lease in us, capacity, used,
--       1 if it drains, highest epoch that it knows; then for each item that it runs:
--       '<name> <epoch> <cost> <epoch that refused it> <quarantine in ms, or -1>
--        <1 if the former worker must end first>'
-- Returns {1 if the wanted items are known, highest epoch, {name, epoch, revision, quarantine in ms, …}: held,
--          {name, …}: leaving, {worker, ms ago, capacity, used, load, items, 1 if it drains, …},
--          {name, cost, reason, …}: unassigned}.
-- A row of `leases`: <epoch> <worker, or -> <cost> <moved in us> <quarantine until, us> <former worker, or ->
--       <left in us>
-- A row of `workers`: <seen in us> <capacity> <used> <1 if it drains> <lease in us> <load> <items>
-- Fields that are not items: in `leases` `:epoch`, the highest one, and `:free`, names; in `workers` `:clock`,
-- `:looked` and `:born`, the times of the last round, the last look and the first round.
local leases_key, workers_key, wanted_key = KEYS[1], KEYS[2], ARGV[1]
local command, me, lease = ARGV[2], ARGV[3], tonumber(ARGV[4])
-- Microseconds and epochs stay below 2^53, up to which Lua's numbers are exact.
local MAX_ITEMS, MAX_WORKERS, MAX_EPOCH, MAX_COST = 4096, 256, 9000000000000000, 1024
-- One call claims at most MAX_CLAIMS, so that workers that start together share, and moves at most MAX_MOVES. It looks
-- for workers with room in at most MAX_STEPS steps.
local MAX_CLAIMS, MAX_MOVES, MAX_STEPS, MAX_UNASSIGNED = 32, 8, 65536, 256
-- Time between two looks, per item; maximum number of names in `:free`.
local LOOK_US, MAX_FREE = 100, 256
local MINUTE, LEAVING, DAY = 60000000, 30000000, 86400000000
-- A worker needs some seconds to measure a new item; until then its cost is an estimate.
local YOUNG, GUESSED = 3000000, 10000000
-- Lower costs count as this one: differences below it are noise.
local MIN_COST = 0.001
-- What workers report changes the wanted cost of an item that waits by these factors at most.
local LOWER, HIGHER = 16, 4
-- A former worker continues until the queue refuses its frames, but for no longer than LEAVING.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
-- New epochs begin at the clock, which may have been set back by years. Somebody has made up one that is a century
-- ahead: those after it would pass MAX_EPOCH, and no lease would hold any more.
local HIGHEST = math.min(MAX_EPOCH, now + 36525 * DAY)

local function number(text, most)
  local found = tonumber(text)
  if not found or found ~= found or found < 0 or found > most then return nil end
  return found
end

local function whole(value) return string.format('%.0f', value) end

-- Whether a hash may be read. If it is larger than valid rows need, or of the wrong type, it is removed where that is
-- allowed: workers report again within a second, with the epochs that they hold.
local function readable(key, most, bytes, ours)
  local count = redis.pcall('HLEN', key)
  if type(count) == 'number' then
    if count == 0 then return false, 0 end
    local used = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', 0)
    if count <= most and type(used) == 'number' and used <= 262144 + count * bytes then return true, count end
  elseif not string.match(count.err, '^WRONGTYPE') then
    return false, 0
  end
  if ours then redis.call('UNLINK', key) end
  return false, 0
end

-- All fields of a hash, or those of some names.
local function rows_of(key, names)
  local rows = {}
  if not names then
    local flat = redis.call('HGETALL', key)
    for i = 1, #flat, 2 do rows[flat[i]] = flat[i + 1] end
    return rows
  end
  for first = 1, #names, 1000 do
    local last = math.min(first + 999, #names)
    local values = redis.call('HMGET', key, unpack(names, first, last))
    for i = first, last do rows[names[i]] = values[i - first + 1] or nil end
  end
  return rows
end

local function is_name(text) return #text <= 128 and string.match(text, '^%w[%w._-]*$') end

local changed, removed = {}, {}
local function remove(name) changed[name], removed[name] = nil, true end

-- Workers: those seen within their lease.
local alive, workers_removed, workers_changed, alive_count = {}, {}, {}, 0
local look, looked, born = command == 'release', nil, nil

-- The fields of a worker's row, or nil if it is not valid.
local function read_worker(id, row)
  local seen, capacity, used, draining, life, load, count =
    string.match(row, '^(%d+) (%S+) (%S+) ([01]) (%d+) (%S+) (%d+)$')
  load, count = number(load, MAX_ITEMS * MAX_COST), number(count, MAX_ITEMS)
  seen, life = number(seen, MAX_EPOCH), number(life, 60000000)
  capacity, used = number(capacity, MAX_COST), number(used, MAX_COST)
  local name = string.match(id, '^([^:]+):%x+$')
  if seen and life and capacity and used and load and count and name and is_name(name) then
    -- All workers of a group have equal leases. A made-up row with a longer one would keep items that nobody runs.
    return {seen = seen, capacity = capacity, used = used, draining = draining == '1', life = math.min(life, lease),
      load = load, count = count}
  end
end

local function read_workers()
  local rows = readable(workers_key, 4 * MAX_WORKERS, 1024, true) and rows_of(workers_key) or {}
  looked = number(string.sub(rows[':looked'] or '', 1, 32), MAX_EPOCH)
  born = number(string.sub(rows[':born'] or '', 1, 32), now)
  local last = number(string.sub(rows[':clock'] or '', 1, 32), MAX_EPOCH)
  -- The clock has jumped, or no worker has called for a long time: each has the time of one lease to report again.
  local jumped = last and (last > now + 1000000 or now - last > lease)
  for id, row in pairs(rows) do
    if string.sub(id, 1, 1) ~= ':' then
      local worker = read_worker(id, row)
      if worker and (jumped or worker.seen > now + 1000000) then
        worker.seen = now
        look, workers_changed[id] = true, true
      end
      if worker and now - worker.seen <= worker.life then
        alive[id] = worker
        alive_count = alive_count + 1
      else
        -- It has died: its items are free.
        look, workers_removed[#workers_removed + 1] = true, id
      end
    end
  end
end

read_workers()
local capacity, used = number(ARGV[5], MAX_COST) or 0, number(ARGV[6], MAX_COST) or 0
local draining = ARGV[7] == '1'
if not alive[me] and alive_count >= MAX_WORKERS and command == 'renew' then
  return redis.error_reply('ERR the group has ' .. MAX_WORKERS .. ' workers, which is the maximum')
end
look = look or not alive[me] or alive[me].draining ~= draining
local listed = alive[me] and alive[me].count
local own = {seen = now, capacity = capacity, used = used, draining = draining, life = lease, load = 0, count = 0}
alive[me] = own

-- What the caller runs.
local mine, names, leave_all = {}, {':known'}, command == 'release' and #ARGV == 8
local highest = number(ARGV[8], HIGHEST) or 0

local function read_mine(text)
  local name, epoch, cost, refused, quarantine, blocked = string.match(text,
    '^(%S+) (%d+) (%S+) (%d+) (-?%d+) ([01])$')
  epoch, cost, refused = number(epoch, HIGHEST), number(cost, MAX_COST), number(refused, HIGHEST)
  if epoch and cost and refused and is_name(name) then
    -- No item can take more than its worker has.
    if cost > 0 then cost = math.max(math.min(cost, capacity > 0 and capacity or cost), MIN_COST) end
    highest = math.max(highest, epoch, refused)
    mine[name] = {epoch = epoch, cost = cost, refused = refused, quarantine = tonumber(quarantine),
      blocked = blocked == '1'}
    names[#names + 1] = name
    if listed and epoch > 0 then listed = listed - 1 end
  end
end

for i = 9, math.min(#ARGV, 8 + MAX_ITEMS) do read_mine(ARGV[i]) end

local leases_there, lease_count = readable(leases_key, 2 * MAX_ITEMS, 1024, true)
local wanted_there, wanted_count = readable(wanted_key, 2 * MAX_ITEMS, 512, false)
local since = looked and now - looked
-- It does not run the items that the last answer named, so that answer was lost.
look = look or listed ~= 0
look = look or not since or since < 0 or since >= LOOK_US * (lease_count + wanted_count)
local free_before = leases_there and redis.call('HGET', leases_key, ':free') or ''
if look then
  names = nil
else
  for name in string.gmatch(free_before, '%S+') do
    if not mine[name] then names[#names + 1] = name end
  end
end

-- The wanted items: revision and cost of each. A `+` before the cost says that it is known: measured before, or taken
-- from items of like kind. Without it, the cost is a first estimate. Without the mark `:known` the list may be
-- incomplete.
local wanted, known = {}, false

local function read_wanted()
  local rows = wanted_there and rows_of(wanted_key, names) or {}
  known = rows[':known'] ~= nil
  for name, row in pairs(rows) do
    local revision, sure, cost = string.match(string.sub(row, 1, 64), '^(%d+) (%+?)(%S+)$')
    revision, cost = number(revision, MAX_EPOCH), number(cost, MAX_COST)
    if revision and cost and is_name(name) then
      wanted[name] = {revision = revision, cost = math.max(cost, MIN_COST), known = sure == '+'}
    end
  end
end

-- Leases.
local held = {}

local function read_lease(name, row)
  local epoch, worker, cost, moved, quarantine, former, left =
    string.match(row, '^(%d+) (%S+) (%S+) (%d+) (%d+) (%S+) (%d+)$')
  epoch, cost, moved = number(epoch, HIGHEST), number(cost, MAX_COST), number(moved, MAX_EPOCH)
  quarantine, left = number(quarantine, MAX_EPOCH), number(left, MAX_EPOCH)
  if not (epoch and cost and moved and quarantine and left and is_name(name)) then return remove(name) end
  highest = math.max(highest, epoch)
  -- Times from the future: the clock has been set back.
  if moved > now then moved = 0 end
  if left > now then left = 0 end
  if quarantine <= now or quarantine > now + DAY then quarantine = 0 end
  held[name] = {epoch = epoch, worker = worker, cost = math.max(cost, MIN_COST), moved = moved,
    quarantine = quarantine, former = former, left = left}
end

local function read_leases()
  if names then names[1] = ':epoch' end
  local rows = leases_there and rows_of(leases_key, names) or {}
  highest = math.max(highest, number(string.sub(rows[':epoch'] or '', 1, 32), HIGHEST) or 0)
  for name, row in pairs(rows) do
    if name ~= ':epoch' and name ~= ':free' then read_lease(name, row) end
  end
end

read_wanted()
read_leases()

local function new_epoch()
  highest = math.max(highest + 1, now)
  return highest
end

-- All rows of workers are lost, or there were none: each holder of a lease has the time of one lease to report.
local newborn = not born or now - born < lease
local function is_free(row)
  return not row or not alive[row.worker] and not (newborn and row.worker ~= '-')
end

-- The row that the caller's item has now; nil if the caller does not hold it.
-- The higher epoch wins, no matter who reports it: Redis may have lost the newest rows or all. Epoch 0 claims nothing.
-- The time of such an item's last move is unknown too: it may have been just now.
local function own_row(name, item)
  local row = held[name]
  if row and row.worker == me then
    row.epoch = math.max(row.epoch, item.epoch)
  elseif known and not wanted[name] then
    row = nil
  elseif item.epoch > 0 and (not row or row.epoch < item.epoch) then
    row = {epoch = item.epoch, worker = me, cost = math.max(item.cost, MIN_COST), moved = row and row.moved or now,
      quarantine = row and row.quarantine or 0, former = '-', left = 0}
    held[name], changed[name] = row, true
  elseif row and is_free(row) and row.former == me and not draining then
    -- The new worker died before it had pushed anything.
    row.epoch, row.worker, row.former, row.left, changed[name] = new_epoch(), me, '-', 0, true
  else
    row = nil
  end
  return row
end

-- Takes into the row what the caller reports of its item.
local function take_report(name, item, row)
  if item.refused >= row.epoch then row.epoch, changed[name] = new_epoch(), true end
  if item.blocked and row.left > 0 then row.left, changed[name] = 0, true end
  -- Small changes are noise, and 0 means that the cost has not been measured yet.
  if item.cost > 0 and math.abs(row.cost - item.cost) > 0.15 * row.cost then
    row.cost, changed[name] = item.cost, true
  end
  if item.quarantine >= 0 then
    row.quarantine, changed[name] = now + math.min(item.quarantine * 1000, DAY), true
    if item.quarantine == 0 then row.quarantine = 0 end
  end
end

local function release()
  for name, row in pairs(held) do
    if row.worker == me and (leave_all or mine[name]) then
      if row.quarantine > 0 then row.worker, changed[name] = '-', true else remove(name) end
    end
  end
end

-- An item that is no longer wanted is removed by its own worker, or when that has died. A look recounts all loads.
local function recount()
  if look then
    for _, worker in pairs(alive) do worker.load, worker.count = 0, 0 end
  end
  own.load, own.count = 0, 0
  for name, row in pairs(held) do
    if known and not wanted[name] and (row.worker == me or is_free(row)) then
      held[name] = nil
      remove(name)
    elseif removed[name] then
      held[name] = nil
    elseif row.worker == me or (look and alive[row.worker]) then
      local worker = alive[row.worker]
      worker.load, worker.count = worker.load + row.cost, worker.count + 1
    end
  end
end

for name, item in pairs(mine) do
  local row = own_row(name, item)
  if row then take_report(name, item, row) end
end
if command == 'release' then release() end
recount()
