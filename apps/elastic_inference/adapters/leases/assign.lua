-- The second part of the lease script: claims and moves. It changes `held`, which `lease.lua` has read.
-- Assigns free items, then those of draining workers, the most expensive first, each with the worker whose relative
-- load stays lowest. Then the worker with the lowest load claims items of fuller ones.
local unassigned, still_free, no_worker = {}, {}, {}
local claims, steps = 0, 0
-- Whether all costs are measured and no free item was assigned in this round: until then, moves might be pointless.
local settled = true
-- The workers that may get items; the largest capacity, and the most room that one of them has.
local candidates, largest, room = {}, 0, 0

local function middle(list)
  table.sort(list)
  local half = math.floor(#list / 2)
  if #list % 2 == 1 then return list[half + 1] end
  return (list[half] + list[half + 1]) / 2
end

-- A cost that some worker has reported, not far from the wanted one: a wrong value must not keep an item from running.
local function near(cost, want) return math.max(want.cost / LOWER, math.min(cost, want.cost * HIGHER)) end

-- The cost of an item that has no worker yet. If it is only a first estimate, the median of measured items replaces it,
-- in each worker's call, or workers would not get equal shares. A few wrong values hardly move a median.
local function expected_cost(want, typical)
  if want.known or not typical then return want.cost end
  return near(typical, want)
end

-- Returns the median, or nil if no cost is measured yet.
local function typical_cost()
  local measured, guessed = {}, {}
  for name, row in pairs(held) do
    local want, age = wanted[name], now - row.epoch
    if want and not want.known and age < GUESSED and math.abs(row.cost - want.cost) < 1e-6 then
      guessed[#guessed + 1] = {row = row, want = want}
    elseif age >= YOUNG then
      measured[#measured + 1] = row.cost
    elseif row.former == '-' then
      settled = false -- the cost of an item that was just opened is imprecise
    end
  end
  if #measured == 0 then return nil end
  local typical = middle(measured)
  for _, each in ipairs(guessed) do
    local row, cost = each.row, expected_cost(each.want, typical)
    local worker = alive[row.worker]
    if worker and (look or row.worker == me) then worker.load = worker.load + cost - row.cost end
    row.cost = cost
  end
  return typical
end

local function dearest(a, b) return a.cost > b.cost or (a.cost == b.cost and a.name < b.name) end

-- The free items and those of draining workers.
local function items_to_assign(typical)
  local free, handed = {}, {}
  for name, want in pairs(wanted) do
    local row = held[name]
    if is_free(row) then
      free[#free + 1] = {name = name, cost = row and near(row.cost, want) or expected_cost(want, typical)}
    elseif alive[row.worker] and alive[row.worker].draining then
      handed[#handed + 1] = {name = name, cost = near(row.cost, want), former = row.worker}
    end
  end
  table.sort(free, dearest)
  table.sort(handed, dearest)
  return free, handed
end

local function find_candidates()
  for id, worker in pairs(alive) do
    -- A worker that has missed its last rounds may be dead, and would keep the item waiting.
    if not worker.draining and worker.capacity > 0 and now - worker.seen <= 0.6 * worker.life then
      candidates[#candidates + 1] = {id = id, load = worker.load, capacity = worker.capacity, count = worker.count}
      largest, room = math.max(largest, worker.capacity), math.max(room, worker.capacity - worker.load)
    end
  end
end

-- The worker whose relative load stays lowest if it gets the item, or nil if no worker has room. From then on, the item
-- counts as that worker's own.
local function assign(item)
  local best, lowest, found = nil, nil, 0
  if item.cost <= room + 1e-9 then
    for _, worker in ipairs(candidates) do
      found = math.max(found, worker.capacity - worker.load)
      local after = worker.load + item.cost
      if after <= worker.capacity + 1e-9 then
        local ratio = after / worker.capacity
        if not best or ratio < lowest - 1e-9 or (ratio <= lowest + 1e-9 and worker.id == me) then
          best, lowest = worker, ratio
        end
      end
    end
    steps = steps + #candidates
    if not best then room = found end
  end
  if best then best.load = best.load + item.cost end
  return best
end

-- `former` is the worker that still runs the item, or '-'. Returns the item's new row.
local function claim(item, former)
  local row = held[item.name]
  held[item.name] = {epoch = new_epoch(), worker = me, cost = item.cost, moved = row and row.moved or 0,
    quarantine = row and row.quarantine or 0, former = former, left = former == '-' and 0 or now}
  changed[item.name], claims = true, claims + 1
  own.load, own.count = own.load + item.cost, own.count + 1
  return held[item.name]
end

-- Claims the item if this worker is the best one for it; if not, the next rounds look at it again. Returns the best.
local function claim_here(item, former)
  local best = assign(item)
  if best and best.id == me and claims < MAX_CLAIMS then
    if alive[former] then alive[former].load = alive[former].load - item.cost end
    claim(item, former)
  else
    local list = best and still_free or no_worker
    if #list < MAX_FREE then list[#list + 1] = item.name end
  end
  return best
end

local function assign_free(free)
  for _, item in ipairs(free) do
    if steps > MAX_STEPS then return end
    if claim_here(item, '-') then
      settled = false
    elseif #unassigned < 3 * MAX_UNASSIGNED then
      local reason = #candidates == 0 and 'draining' or item.cost > largest + 1e-9 and 'large' or 'full'
      unassigned[#unassigned + 1], unassigned[#unassigned + 2] = item.name, tostring(item.cost)
      unassigned[#unassigned + 1] = reason
    end
  end
end

local function assign_handed(handed)
  for _, item in ipairs(handed) do
    if steps > MAX_STEPS then return end
    claim_here(item, item.former)
  end
end

local function load_ratio(worker) return worker.load / worker.capacity end

-- The other workers, the fullest first. None if one has a lower load than this worker, or none a clearly higher one.
local function fuller_workers()
  local others = {}
  for _, worker in ipairs(candidates) do
    if worker.id ~= me then
      if load_ratio(worker) < load_ratio(own) - 1e-9 then return {} end
      others[#others + 1] = worker
    end
  end
  table.sort(others, function(a, b) return load_ratio(a) > load_ratio(b) end)
  local fullest = others[1]
  local margin = load_ratio(fullest) * math.min(0.05, 1 / math.max(1, fullest.count))
  if load_ratio(fullest) - load_ratio(own) <= margin then return {} end
  return others
end

-- Whether the former worker may still be the only one that runs the item: a further move would end it there.
local function is_handed(row) return row.left > 0 and now - row.left < LEAVING and alive[row.former] end

-- The items of each worker that may move, the most expensive first.
local function movable_items(workers)
  local by_worker = {}
  for _, worker in ipairs(workers) do by_worker[worker.id] = {} end
  for name, row in pairs(held) do
    local list = by_worker[row.worker]
    if list and wanted[name] and now - row.moved >= MINUTE and not is_handed(row) then
      list[#list + 1] = {name = name, cost = row.cost}
    end
  end
  for _, list in pairs(by_worker) do table.sort(list, dearest) end
  return by_worker
end

-- Takes out of `items` the one that lowers the load of `worker` most, if the move is worth it.
local function take_best(items, worker)
  for i, item in ipairs(items) do
    local share = item.cost / worker.capacity
    local margin = math.min(math.max(0.05 * load_ratio(worker), 0.25 * share), 0.75 * share)
    local after = own.load + item.cost
    if after <= capacity + 1e-9 and after / capacity < load_ratio(worker) - margin then
      return table.remove(items, i)
    end
  end
end

-- The worker with the lowest load claims items of fuller ones if that clearly helps, but none that moved in the last
-- minute.
local function rebalance()
  if draining or #candidates < 2 or not look or not settled then return end
  local others = fuller_workers()
  if #others == 0 then return end
  local items = movable_items(others)
  local moves, before = 0, nil
  repeat
    before = moves
    for _, worker in ipairs(others) do
      local chosen = moves < MAX_MOVES and take_best(items[worker.id], worker)
      if chosen then
        claim(chosen, worker.id).moved = now
        worker.load, moves = worker.load - chosen.cost, moves + 1
        alive[worker.id].load, alive[worker.id].count = worker.load, alive[worker.id].count - 1
      end
    end
  until moves == before or moves >= MAX_MOVES
end

if command == 'renew' then
  local free, handed = items_to_assign(typical_cost())
  find_candidates()
  assign_free(free)
  assign_handed(handed)
  rebalance()
end
