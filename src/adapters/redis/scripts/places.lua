-- Places: what place_rules.h decides. Of a key there are a hash and three sorted sets of holders:
--   max       places
--   arrivals  numbers given to those that wait
--   e:HOLDER  the epoch of one that has a place; 0: it was passed one
--   holding   by the microsecond from which on it is a suspect
--   passed    by the microsecond until which its place is kept
--   waiting   by priority and number

local LEASE, PASSED, PASSED_ON, PRIORITY = 30000000, 10000000, 100, 2 ^ 45
local PLACE_KEEP, TAKEN_KEEP = 3600000, 31536000000

local function open_places(key, now, holding, passed, waiting)
  local places = {key = key, holding = KEYS[tonumber(holding)], passed = KEYS[tonumber(passed)],
                  waiting = KEYS[tonumber(waiting)], now = limit_now(now), told = {}}
  for _, holder in ipairs(call('ZRANGEBYSCORE', places.passed, '-inf', number(places.now))) do
    places.lapsed = true
    call('ZREM', places.passed, holder)
    call('HDEL', key, 'e:' .. holder)
  end
  places.max = tonumber(call('HGET', key, 'max') or '0')
  places.taken = call('ZCARD', places.holding) + call('ZCARD', places.passed)
  return places
end

local function hold_place(places, holder, epoch)
  places.taken = places.taken - call('ZREM', places.passed, holder)
  places.taken = places.taken + call('ZADD', places.holding, number(places.now + LEASE), holder)
  call('HSET', places.key, 'e:' .. holder, epoch)
end

-- Whether it came to `asker`.
local function pass_places_on(places, asker, epoch)
  local granted = 0
  for _ = 1, math.min(PASSED_ON, places.max - places.taken) do
    local holder = call('ZPOPMIN', places.waiting)[1]
    if not holder then break end
    if holder == asker then
      hold_place(places, asker, epoch)
      granted = 1
    else
      call('ZADD', places.passed, number(places.now + PASSED), holder)
      call('HSET', places.key, 'e:' .. holder, '0')
      places.taken = places.taken + 1
      places.told[#places.told + 1] = holder
    end
  end
  return granted
end

local function keep_places(places)
  local keep = places.taken > 0 and TAKEN_KEEP or PLACE_KEEP
  if places.taken == 0 and call('ZCARD', places.waiting) == 0 then
    call('DEL', places.key)
    return
  end
  for _, key in ipairs({places.key, places.holding, places.passed, places.waiting}) do
    call('PEXPIRE', key, number(keep))
  end
end

-- {1 if granted, suspect, its epoch, those that were passed one}
function verbs.enter_place(key, now, holding, passed, waiting, holder, epoch, max, priority)
  local places = open_places(key, now, holding, passed, waiting)
  places.max = tonumber(max)
  call('HSET', key, 'max', max)
  local granted, suspect, suspect_epoch = 0, '', '0'
  local had = call('HGET', key, 'e:' .. holder)
  if had and tonumber(had) > tonumber(epoch) then
    suspect, suspect_epoch = holder, had
    pass_places_on(places)
  elseif had then
    if had ~= epoch then hold_place(places, holder, epoch) end
    granted = 1
    pass_places_on(places)
  elseif places.lapsed and places.taken < places.max then
    call('ZREM', places.waiting, holder)
    hold_place(places, holder, epoch)
    granted = 1
    pass_places_on(places)
  else
    if not call('ZSCORE', places.waiting, holder) then
      local arrival = call('HINCRBY', key, 'arrivals', '1')
      call('ZADD', places.waiting, number(tonumber(priority) * PRIORITY + arrival), holder)
    end
    granted = pass_places_on(places, holder, epoch)
    local first = granted == 0 and call('ZRANGE', places.holding, '0', '0', 'WITHSCORES') or {}
    if first[1] and tonumber(first[2]) <= places.now then
      suspect, suspect_epoch = first[1], call('HGET', key, 'e:' .. first[1])
      call('ZADD', places.holding, number(places.now + LEASE), suspect)
    end
  end
  keep_places(places)
  return {granted, suspect, suspect_epoch, unpack(places.told)}
end

-- {those that were passed a place}
function verbs.leave_place(key, now, holding, passed, waiting, holder, epoch)
  local places = open_places(key, now, holding, passed, waiting)
  local had = tonumber(call('HGET', key, 'e:' .. holder))
  local gone = 0
  if had and had > 0 and had <= tonumber(epoch) then
    gone = call('ZREM', places.holding, holder)
  elseif had == 0 and epoch == '0' then
    gone = call('ZREM', places.passed, holder)
  elseif had == 0 then
    places.told[1] = holder
  elseif not had and epoch == '0' then
    call('ZREM', places.waiting, holder)
  end
  if gone > 0 then call('HDEL', key, 'e:' .. holder) end
  places.taken = places.taken - gone
  pass_places_on(places)
  keep_places(places)
  return places.told
end
