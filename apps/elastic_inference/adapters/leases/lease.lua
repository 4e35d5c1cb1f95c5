#!lua flags=allow-oom
-- One round of one worker: renews what it holds, learns what is free, claims its share, or takes over what pays.
-- There is no leader: each worker runs this script, and whoever calls does for itself what all need. A *look* reads
-- all items. They take turns, so that looks keep Redis busy for some per cent of the time; the rounds between read what
-- the caller runs, and what the last look has found free.
-- KEYS: leases, workers
-- ARGV: key of what is wanted, `renew` or `release`, worker (<name>:<incarnation>), lease in us, capacity, used,
--       1 if it drains, highest epoch that it knows; then for each item that it runs:
--       '<name> <epoch> <cost> <epoch that refused it> <quarantine in ms, or -1> <1 if the former worker must end first>'
-- Returns {1 if it is known what is wanted, highest epoch, {name, epoch, revision, quarantine in ms, …}: held,
--          {name, …}: leaving, {worker, ms ago, capacity, used, load, items, 1 if it drains, …},
--          {name, cost, reason, …}: unassigned}.
-- A row of `leases`: <epoch> <worker, or -> <cost> <moved in us> <quarantine until, us> <former worker, or -> <left in us>
-- A row of `workers`: <seen in us> <capacity> <used> <1 if it drains> <lease in us> <load> <items>
-- Fields that are no items: `:epoch`, the highest one, and `:free`, names, in `leases`; `:clock`, `:looked` and `:born`,
-- the times of the last round, the last look and the first round, in `workers`.
local leases_key, workers_key, wanted_key = KEYS[1], KEYS[2], ARGV[1]
local command, me, lease = ARGV[2], ARGV[3], tonumber(ARGV[4])
-- Numbers of microseconds and epochs stay below 2^53, where Lua's numbers are exact.
local MAX_ITEMS, MAX_WORKERS, MAX_EPOCH, MAX_COST = 4096, 256, 9000000000000000, 1024
-- One call claims at most MAX_CLAIMS, so that workers that start together share, and moves at most MAX_MOVES. It looks
-- for places in at most MAX_STEPS steps.
local MAX_CLAIMS, MAX_MOVES, MAX_STEPS, MAX_UNASSIGNED = 32, 8, 65536, 256
-- Time between two looks, for each item; names in `:free`.
local LOOK_US, MAX_FREE = 100, 256
local MINUTE, LEAVING, DAY = 60000000, 30000000, 86400000000
-- A worker needs some seconds until it has measured what it has claimed: until then a cost is an estimate.
local YOUNG, GUESSED = 3000000, 10000000
-- What is cheaper counts as this much, so that its cost is no noise.
local MIN_COST = 0.001
-- A former worker goes on until the queue refuses its frames, but no longer than LEAVING.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

local function number(text, most)
  local found = tonumber(text)
  if not found or found ~= found or found < 0 or found > most then return nil end
  return found
end

local function whole(value) return string.format('%.0f', value) end

-- Whether a hash may be read. One that is larger than valid rows need, or of the wrong type, is removed where we may:
-- workers report again within a second, with the epochs that they hold.
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

-- Workers: who is seen within its lease.
local alive, workers_removed, workers_changed, alive_count = {}, {}, {}, 0
local look, looked, born = command == 'release', nil, nil
do
  local rows = readable(workers_key, 4 * MAX_WORKERS, 1024, true) and rows_of(workers_key) or {}
  looked = number(string.sub(rows[':looked'] or '', 1, 32), MAX_EPOCH)
  born = number(string.sub(rows[':born'] or '', 1, 32), now)
  local last = number(string.sub(rows[':clock'] or '', 1, 32), MAX_EPOCH)
  -- The clock has jumped, or nobody has called for long: whoever still lives gets one lease to say so.
  local jumped = last and (last > now + 1000000 or now - last > lease)
  for id, row in pairs(rows) do
    if string.sub(id, 1, 1) ~= ':' then
      local seen, capacity, used, draining, life, load, count =
        string.match(row, '^(%d+) (%S+) (%S+) ([01]) (%d+) (%S+) (%d+)$')
      load, count = number(load, MAX_ITEMS * MAX_COST), number(count, MAX_ITEMS)
      seen, life = number(seen, MAX_EPOCH), number(life, 60000000)
      capacity, used = number(capacity, MAX_COST), number(used, MAX_COST)
      local name = string.match(id, '^([^:]+):%x+$')
      local valid = seen and life and capacity and used and load and count and name and is_name(name)
      if valid and (jumped or seen > now + 1000000) then
        seen = now
        look, workers_changed[id] = true, true
      end
      if valid and now - seen <= life then
        alive[id] = {seen = seen, capacity = capacity, used = used, draining = draining == '1', life = life,
          load = load, count = count}
        alive_count = alive_count + 1
      else
        -- It has died: what it held is free.
        look, workers_removed[#workers_removed + 1] = true, id
      end
    end
  end
end
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
local highest = number(ARGV[8], MAX_EPOCH) or 0
for i = 9, #ARGV do
  local name, epoch, cost, refused, quarantine, blocked = string.match(ARGV[i],
    '^(%S+) (%d+) (%S+) (%d+) (-?%d+) ([01])$')
  epoch, cost, refused = number(epoch, MAX_EPOCH), number(cost, MAX_COST), number(refused, MAX_EPOCH)
  if epoch and cost and refused and is_name(name) then
    if cost > 0 then cost = math.max(cost, MIN_COST) end
    highest = math.max(highest, epoch, refused)
    mine[name] = {epoch = epoch, cost = cost, refused = refused, quarantine = tonumber(quarantine),
      blocked = blocked == '1'}
    names[#names + 1] = name
    if listed and epoch > 0 then listed = listed - 1 end
  end
end

local leases_there, lease_count = readable(leases_key, 2 * MAX_ITEMS, 1024, true)
local wanted_there, wanted_count = readable(wanted_key, 2 * MAX_ITEMS, 512, false)
local since = looked and now - looked
-- It runs other items than it was told: an answer was lost.
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

-- What is wanted: revision and cost of each item. Without the mark `:known` the list may be incomplete.
local wanted, known = {}, false
do
  local rows = wanted_there and rows_of(wanted_key, names) or {}
  known = rows[':known'] ~= nil
  for name, row in pairs(rows) do
    local revision, cost = string.match(string.sub(row, 1, 64), '^(%d+) (%S+)$')
    revision, cost = number(revision, MAX_EPOCH), number(cost, MAX_COST)
    if revision and cost and is_name(name) then wanted[name] = {revision = revision, cost = math.max(cost, MIN_COST)} end
  end
end

-- Leases.
local held = {}
do
  if names then names[1] = ':epoch' end
  local rows = leases_there and rows_of(leases_key, names) or {}
  highest = math.max(highest, number(string.sub(rows[':epoch'] or '', 1, 32), MAX_EPOCH) or 0)
  for name, row in pairs(rows) do
    if name ~= ':epoch' and name ~= ':free' then
      local epoch, worker, cost, moved, quarantine, former, left =
        string.match(row, '^(%d+) (%S+) (%S+) (%d+) (%d+) (%S+) (%d+)$')
      epoch, cost, moved = number(epoch, MAX_EPOCH), number(cost, MAX_COST), number(moved, MAX_EPOCH)
      quarantine, left = number(quarantine, MAX_EPOCH), number(left, MAX_EPOCH)
      if epoch and cost and moved and quarantine and left and is_name(name) then
        highest = math.max(highest, epoch)
        -- Times from the future: the clock has been set back.
        if moved > now then moved = 0 end
        if left > now then left = 0 end
        if quarantine <= now or quarantine > now + DAY then quarantine = 0 end
        held[name] = {epoch = epoch, worker = worker, cost = math.max(cost, MIN_COST), moved = moved,
          quarantine = quarantine, former = former, left = left}
      else
        remove(name)
      end
    end
  end
end

local function new_epoch()
  highest = math.max(highest + 1, now)
  return highest
end

-- The rows of all workers are lost, or there were none: whoever holds a lease gets the length of one to say so.
local newborn = not born or now - born < lease
local function is_free(row)
  return not row or not alive[row.worker] and not (newborn and row.worker ~= '-')
end

-- A higher epoch wins, whoever tells of it: Redis may have lost the newest rows or all of them. Epoch 0 tells nothing.
-- When such an item moved last is not known either: it may have been just now.
for name, item in pairs(mine) do
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
  if row then
    if item.refused >= row.epoch then row.epoch, changed[name] = new_epoch(), true end
    if item.blocked and row.left > 0 then row.left, changed[name] = 0, true end
    -- Small changes are noise, and 0 means that nobody has measured yet.
    if item.cost > 0 and math.abs(row.cost - item.cost) > 0.15 * row.cost then row.cost, changed[name] = item.cost, true end
    if item.quarantine >= 0 then
      row.quarantine, changed[name] = now + math.min(item.quarantine * 1000, DAY), true
      if item.quarantine == 0 then row.quarantine = 0 end
    end
  end
end

if command == 'release' then
  for name, row in pairs(held) do
    if row.worker == me and (leave_all or mine[name]) then
      if row.quarantine > 0 then row.worker, changed[name] = '-', true else remove(name) end
    end
  end
end

-- What is no longer wanted goes with its own worker, or when that one has died. A look counts all loads anew.
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

-- Places for what is free, then for what drains: the worker whose relative load stays lowest, the dearest item first.
local unassigned, still_free, no_place = {}, {}, {}
local function place_all()
  local free, handed, places = {}, {}, {}
  -- What is new counts like what has been measured, on each worker alike, or they would not get equal shares.
  local typical, measured, guessed, settled = 0, 0, {}, true
  for name, row in pairs(held) do
    local want, age = wanted[name], now - row.epoch
    if want and age < GUESSED and math.abs(row.cost - want.cost) < 1e-6 then
      guessed[#guessed + 1] = row
    elseif age >= YOUNG then
      typical, measured = typical + row.cost, measured + 1
    elseif row.former == '-' then
      settled = false -- what has just been opened is measured roughly
    end
  end
  typical = measured > 0 and typical / measured or nil
  for _, row in ipairs(typical and guessed or {}) do
    local worker = alive[row.worker]
    if worker and (look or row.worker == me) then worker.load = worker.load + typical - row.cost end
    row.cost = typical
  end
  for name, want in pairs(wanted) do
    local row = held[name]
    if is_free(row) then
      free[#free + 1] = {name = name, cost = row and row.cost or want.cost, likely = not row and typical or nil}
    elseif alive[row.worker] and alive[row.worker].draining then
      handed[#handed + 1] = {name = name, cost = row.cost, former = row.worker}
    end
  end
  local largest, room = 0, 0
  for id, worker in pairs(alive) do
    -- Who has missed its last rounds may be dead, and would keep the item waiting.
    if not worker.draining and worker.capacity > 0 and now - worker.seen <= 0.6 * worker.life then
      places[#places + 1] = {id = id, load = worker.load, capacity = worker.capacity, count = worker.count}
      largest, room = math.max(largest, worker.capacity), math.max(room, worker.capacity - worker.load)
    end
  end
  local function dearest(a, b) return a.cost > b.cost or (a.cost == b.cost and a.name < b.name) end
  table.sort(free, dearest)
  table.sort(handed, dearest)

  local claims, steps = 0, 0
  local function place(item)
    local best, lowest, found = nil, nil, 0
    if item.cost <= room + 1e-9 then
      for _, worker in ipairs(places) do
        found = math.max(found, worker.capacity - worker.load)
        local after = worker.load + item.cost
        if after <= worker.capacity + 1e-9 then
          local ratio = after / worker.capacity
          if not best or ratio < lowest - 1e-9 or (ratio <= lowest + 1e-9 and worker.id == me) then
            best, lowest = worker, ratio
          end
        end
      end
      steps = steps + #places
      if not best then room = found end
    end
    if best then best.load = best.load + (item.likely or item.cost) end
    return best
  end
  local function claim(item, former)
    local row = held[item.name]
    local cost = item.likely or item.cost
    held[item.name] = {epoch = new_epoch(), worker = me, cost = cost, moved = row and row.moved or 0,
      quarantine = row and row.quarantine or 0, former = former, left = former == '-' and 0 or now}
    changed[item.name], claims = true, claims + 1
    own.load, own.count = own.load + cost, own.count + 1
    return held[item.name]
  end

  for _, item in ipairs(free) do
    if steps > MAX_STEPS then break end
    local best = place(item)
    local mine_now = best and best.id == me and claims < MAX_CLAIMS
    if best then settled = false end
    if mine_now then
      claim(item, '-')
    else
      local list = best and still_free or no_place
      if #list < MAX_FREE then list[#list + 1] = item.name end
    end
    if not best and #unassigned < 3 * MAX_UNASSIGNED then
      local reason = #places == 0 and 'draining' or item.cost > largest + 1e-9 and 'large' or 'full'
      unassigned[#unassigned + 1], unassigned[#unassigned + 2] = item.name, tostring(item.cost)
      unassigned[#unassigned + 1] = reason
    end
  end
  for _, item in ipairs(handed) do
    if steps > MAX_STEPS then break end
    local best = place(item)
    if best and best.id == me and claims < MAX_CLAIMS then
      alive[item.former].load = alive[item.former].load - item.cost
      claim(item, item.former)
    else
      local list = best and still_free or no_place
      if #list < MAX_FREE then list[#list + 1] = item.name end
    end
  end
  -- Rebalance: the emptiest worker takes from the fullest what pays clearly, and nothing that moved within a minute.
  -- Not while costs are estimates, since that would move much for nothing.
  if draining or #places < 2 or not look or not settled then return end
  local function ratio(worker) return worker.load / worker.capacity end
  local by_worker, others = {}, {}
  for _, worker in ipairs(places) do
    if worker.id ~= me then
      if ratio(worker) < ratio(own) - 1e-9 then return end
      others[#others + 1], by_worker[worker.id] = worker, {}
    end
  end
  table.sort(others, function(a, b) return ratio(a) > ratio(b) end)
  local fullest = others[1]
  if ratio(fullest) - ratio(own) <= ratio(fullest) * math.min(0.05, 1 / math.max(1, fullest.count)) then return end
  for name, row in pairs(held) do
    local list = by_worker[row.worker]
    if list and wanted[name] and now - row.moved >= MINUTE then list[#list + 1] = {name = name, cost = row.cost} end
  end
  for _, list in pairs(by_worker) do table.sort(list, dearest) end
  -- What lowers the load of `worker` most, if it pays.
  local function best_of(worker)
    for i, item in ipairs(by_worker[worker.id]) do
      local share = item.cost / worker.capacity
      local margin = math.min(math.max(0.05 * ratio(worker), 0.25 * share), 0.75 * share)
      local after = own.load + item.cost
      if after <= capacity + 1e-9 and after / capacity < ratio(worker) - margin then
        return table.remove(by_worker[worker.id], i)
      end
    end
  end
  local moves = 0
  while moves < MAX_MOVES do
    local moved = false
    for _, worker in ipairs(others) do
      local chosen = moves < MAX_MOVES and best_of(worker)
      if chosen then
        claim(chosen, worker.id).moved = now
        worker.load, moves, moved = worker.load - chosen.cost, moves + 1, true
        alive[worker.id].load, alive[worker.id].count = worker.load, alive[worker.id].count - 1
      end
    end
    if not moved then return end
  end
end
if command == 'renew' then place_all() end

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
  for i = 1, math.min(#no_place, MAX_FREE - #still_free) do still_free[#still_free + 1] = no_place[i] end
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
-- What has been released is looked for at once.
if look then write(workers_key, ':looked', command == 'release' and '0' or whole(now)) end
if not born then write(workers_key, ':born', whole(now)) end
write(workers_key, ':clock', whole(now))
flush(workers_key)
-- Longer than a quarantine lasts; without a worker nobody needs them.
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
