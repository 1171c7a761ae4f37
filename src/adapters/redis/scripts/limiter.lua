-- Limits: what limit_rules.h decides, over a hash. Its fields:
--   at       microseconds: of the buckets; ahead of now behind a pause
--   paused   until when; permits for an earlier instant have been overtaken
--   u:UNIT   two buckets, its callers' own and the one that was told: size, span, full, size, span, full

local MAX_WAIT, GRACE, SPACING, KEEP, MAX_SPAN = 2592000000000, 10000000, 50000, 3600000000, 1e17

local function number(value) return string.format('%.0f', value) end

-- `now`: empty, this server's time.
local function limit_now(now)
  if tonumber(now) then return tonumber(now) end
  local clock = call('TIME')
  return clock[1] * 1000000 + clock[2]
end

local function limit_state(key, now)
  local state = {at = 0, paused = 0, units = {}, names = {}}
  local all = call('HGETALL', key)
  for i = 1, #all, 2 do
    local name = string.match(all[i], '^u:(.*)$')
    if name then
      local n = {}
      for text in string.gmatch(all[i + 1], '%S+') do n[#n + 1] = tonumber(text) end
      state.units[name] = {own = {size = n[1], span = n[2], full = n[3]}, told = {size = n[4], span = n[5], full = n[6]}}
      state.names[#state.names + 1] = name
    else
      state[all[i]] = tonumber(all[i + 1])
    end
  end
  return state, limit_now(now)
end

local function limit_unit(state, name)
  if not state.units[name] then
    local none = {size = 0, span = 0, full = 0}
    state.units[name] = {own = none, told = {size = 0, span = 0, full = 0}}
    state.names[#state.names + 1] = name
  end
  return state.units[name]
end

local function pass_until(state, time)
  if time <= state.at then return end
  for _, unit in pairs(state.units) do
    for _, bucket in pairs(unit) do bucket.full = math.max(0, bucket.full - (time - state.at)) end
  end
  state.at = time
end

local function flow(bucket, amount) return math.ceil(amount * bucket.span / bucket.size) end

local function keep_limit(key, state, now)
  local fields, full = {'at', number(state.at), 'paused', number(state.paused)}, 0
  for _, name in ipairs(state.names) do
    local own, told = state.units[name].own, state.units[name].told
    if own.size > 0 or told.size > 0 then
      full = math.max(full, own.full, told.full)
      local n = {own.size, own.span, own.full, told.size, told.span, told.full}
      for i, value in ipairs(n) do n[i] = number(value) end
      fields[#fields + 1], fields[#fields + 2] = 'u:' .. name, table.concat(n, ' ')
    end
  end
  call('DEL', key)
  if #fields == 4 and state.at <= now then return end
  call('HSET', key, unpack(fields))
  call('PEXPIRE', key, number(math.ceil((state.at + full + KEEP - now) / 1000)))
end

-- Takes a permit. `...`: name, amount, size and span of each unit; size 0: its caller does not limit it.
-- {0, instant, now}, or {1} if that would be too far away
function verbs.acquire(key, now, permit, ...)
  local state, now = limit_state(key, now)
  permit = tonumber(permit)
  local says_something = #state.names > 0 or state.at > now
  if permit > 0 and permit >= state.paused and now <= permit + GRACE and says_something then
    return {0, permit, now}
  end
  local queues, wait, asked = state.at > now, 0, {...}
  pass_until(state, now)
  local function take(bucket, amount)
    bucket.full = bucket.full + flow(bucket, amount)
    wait = math.max(wait, bucket.full - bucket.span)
  end
  for i = 1, #asked, 4 do
    local unit, amount, size = limit_unit(state, asked[i]), tonumber(asked[i + 1]), tonumber(asked[i + 2])
    if size > 0 then
      unit.own.size, unit.own.span = size, tonumber(asked[i + 3])
      take(unit.own, amount)
    end
    if unit.told.size > 0 then take(unit.told, amount) end
  end
  local at = state.at + wait
  if at - now > MAX_WAIT then return {1} end
  if queues then  -- the longer the queue behind a pause has become, the quicker it goes
    local behind = math.max(0, math.floor((state.at - state.paused) / 1000000))
    pass_until(state, state.at + math.max(1, math.floor(SPACING / (1 + behind))))
  end
  keep_limit(key, state, now)
  return {0, at, now}
end

-- Gives back, reports and pauses. `...`: name and amount of `unused` units, then name, limit, remaining and
-- microseconds until it is full of each report.
function verbs.settle(key, now, pause, unused, ...)
  local state, now = limit_state(key, now)
  local said, last = {...}, 2 * tonumber(unused)
  pass_until(state, now)
  for i = 1, last, 2 do
    for _, bucket in pairs(limit_unit(state, said[i])) do
      if bucket.size > 0 then bucket.full = math.max(0, bucket.full + flow(bucket, -tonumber(said[i + 1]))) end
    end
  end
  for i = last + 1, #said, 4 do
    local told, size = limit_unit(state, said[i]).told, tonumber(said[i + 1])
    local missing, full_in = size - tonumber(said[i + 2]), tonumber(said[i + 3])
    local taken, span = told.size > 0 and told.full * told.size / told.span or 0, 0
    if missing > 0 and full_in > 0 then
      span = full_in * size / missing
    elseif told.size > 0 then
      span = told.span * size / told.size
    end
    if size > 0 and span > 0 then
      span = math.min(math.ceil(span), MAX_SPAN)
      told.size, told.span, told.full = size, span, math.ceil(math.max(taken, missing) * span / size)
    end
  end
  pause = tonumber(pause)
  if pause > 0 then
    state.paused = math.max(state.paused, now + pause)
    pass_until(state, now + pause)
  end
  keep_limit(key, state, now)
end

