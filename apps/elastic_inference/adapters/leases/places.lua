-- The second part of the lease script: claims and moves. It changes `held`, which `lease.lua` has read.
-- Places free items, then those of draining workers, the most expensive first, each with the worker whose relative
-- load stays lowest.
local unassigned, still_free, no_place = {}, {}, {}
local function place_all()
  local free, handed, places = {}, {}, {}
  -- New items count like the mean of measured ones, in each worker's call, or workers would not get equal shares.
  local typical, measured, guessed, settled = 0, 0, {}, true
  for name, row in pairs(held) do
    local want, age = wanted[name], now - row.epoch
    if want and age < GUESSED and math.abs(row.cost - want.cost) < 1e-6 then
      guessed[#guessed + 1] = row
    elseif age >= YOUNG then
      typical, measured = typical + row.cost, measured + 1
    elseif row.former == '-' then
      settled = false -- the cost of an item that was just opened is imprecise
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
    -- A worker that has missed its last rounds may be dead, and would keep the item waiting.
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
  -- Rebalance: the worker with the lowest load claims items of the one with the highest if that clearly helps, but none
  -- that moved within a minute, and none while costs are estimates, since such moves may be for nothing.
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
  -- The item that lowers the load of `worker` most, if the move is worth it.
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
