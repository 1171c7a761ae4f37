-- One atomic step: checks, then reads, then writes. Nothing is written unless every check holds, since
-- Redis rolls nothing back.
--
-- ARGV: now, checks, reads, names, then the names and the checks and the reads and the writes, one behind the other.
--   now     the caller's idea of this server's time in microseconds, by which it has decided; empty: its
--           own clock rules
--   check   kind, key, count, count arguments: '=' these fields have these values, '+' these fields are
--                                        there, '-' are not; 'n' the set has so many members
--   read,   name, key, count, count arguments: a command, or one of `verbs`, which are in lower case
--   write
-- Keys are given by their place in KEYS, which `names` take, if there are any.
-- Answers {0, time, replies to the reads}, {1, time, number of the check that does not hold}, or
-- {2, time} when `now` is too far from the time.

local STALE_MICROS = 5000000
local call = redis.call

-- A call runs all this from the top, so only what most steps need is defined at once.
local verbs = {}

-- Entries of a stream behind id `after`: no more than `count`, and after the first one no more than `bytes`.
-- {1 if there are more, id, first value, second value, id, …}
function verbs.page(key, after, count, bytes)
  local page, size, left, from = {0}, 0, tonumber(count), '(' .. after
  while left > 0 do
    local chunk = math.min(left, 16)
    local entries = call('XRANGE', key, from, '+', 'COUNT', chunk)
    for _, entry in ipairs(entries) do
      local fields = entry[2]
      if size > 0 and size + #fields[4] > tonumber(bytes) then
        page[1] = 1
        return page
      end
      size = size + #fields[4]
      page[#page + 1], page[#page + 2], page[#page + 3] = entry[1], fields[2], fields[4]
      from = '(' .. entry[1]
    end
    if #entries < chunk then break end
    left = left - chunk
  end
  return page
end

-- Up to `max` hints of the queues `...`, in this order.
function verbs.take(first, max, ...)
  local taken, left = {}, tonumber(max)
  for _, queue in ipairs({first, ...}) do
    if queue ~= first then queue = KEYS[tonumber(queue)] end
    if left == 0 then break end
    local popped = call('ZPOPMIN', queue, left)
    for i = 1, #popped, 2 do taken[#taken + 1] = popped[i] end
    left = left - #popped / 2
  end
  return taken
end

-- Hints go by priority and then by number, which their score tells in one: a double has integers of 53 bits, three of
-- them for the priority. Numbers go up from the middle of the others, and down for what is given back, which so is the
-- first of its priority; they last for 17 years of a million hints a second.
local PRIORITY, MIDDLE = 2 ^ 50, 2 ^ 49

-- Puts hints into `queue`, or into `own` if their session receives, as the 'first' or the 'last' of their priority; wakes
-- receivers when they are the first of all. (priority, hint), as many as there are.
function verbs.hint(queue, channel, counter, place, session, receivers, own, index, ...)
  if session ~= '' and call('SISMEMBER', KEYS[tonumber(receivers)], session) == 1 then
    queue = KEYS[tonumber(own)]
    call('SADD', KEYS[tonumber(index)], queue)
  end
  local hints, entries, sign = {...}, {}, place == 'first' and -1 or 1
  local number = call('INCRBY', KEYS[tonumber(counter)], #hints / 2) - #hints / 2
  for i = 1, #hints, 2 do
    number = number + 1
    entries[i], entries[i + 1] = string.format('%.0f', hints[i] * PRIORITY + MIDDLE + sign * number), hints[i + 1]
  end
  local added = call('ZADD', queue, 'NX', unpack(entries))
  if added > 0 and call('ZCARD', queue) == added then call('PUBLISH', channel, queue) end
end

-- Enters members in a due index, and tells everybody when nothing in it was due sooner: (at, member), as many as there are.
function verbs.due(index, channel, sender, ...)
  local first = call('ZRANGE', index, 0, 0, 'WITHSCORES')[2]
  call('ZADD', index, ...)
  local soonest, _, more = ...
  if more then
    local entries = {...}
    for i = 3, #entries, 2 do
      if tonumber(entries[i]) < tonumber(soonest) then soonest = entries[i] end
    end
  end
  if not first or tonumber(soonest) < tonumber(first) then call('PUBLISH', channel, sender .. ' ' .. soonest) end
end

-- Enters a member under the next number.
function verbs.enter(index, counter, member)
  call('ZADD', index, call('INCR', KEYS[tonumber(counter)]), member)
end

-- Whether a dedupe key is remembered: seen no earlier than `before`, and among the `kept` newest.
function verbs.has_key(keys, key, before, kept)
  local seen = call('ZSCORE', keys, key)
  if not seen or tonumber(seen) < tonumber(before) then return 0 end
  return call('ZREVRANK', keys, key) < tonumber(kept) and 1 or 0
end

-- Forgets the others, and what was answered to them.
function verbs.trim(keys, before, kept, answers)
  answers = KEYS[tonumber(answers)]
  if call('EXISTS', answers) == 1 then
    for _, range in ipairs{{'-inf', '(' .. before, 'BYSCORE'}, {0, -1 - tonumber(kept)}} do
      for _, key in ipairs(call('ZRANGE', keys, unpack(range))) do
        call('HDEL', answers, key)
      end
    end
  end
  call('ZREMRANGEBYSCORE', keys, '-inf', '(' .. before)
  call('ZREMRANGEBYRANK', keys, 0, -1 - tonumber(kept))
end

-- Takes a run's timers out of the due index.
function verbs.timers(timers, due, run)
  local ids = call('HKEYS', timers)
  for _, id in ipairs(ids) do call('ZREM', KEYS[tonumber(due)], 't' .. id .. ':' .. run) end
  if #ids > 0 then call('DEL', timers) end
end

-- Notes in `field` that store `id` awaits the end of a run ('w'), or something that may come before it ('e').
function verbs.await(run, id, field)
  if call('EXISTS', run) == 0 then return end
  local awaiting = call('HGET', run, field) or ''
  if not string.find(awaiting, ' ' .. id .. ' ', 1, true) then
    call('HSET', run, field, awaiting .. ' ' .. id .. ' ')
  end
end

-- Tells the stores of `awaiting`, but for `sender`, which knows. Whether that is one of them.
local function tell_awaiting(awaiting, prefix, name, sender)
  local is_one = false
  for id in string.gmatch(awaiting or '', '%S+') do
    if id == sender then is_one = true else call('PUBLISH', prefix .. id, name) end
  end
  return is_one
end

-- Something of a run has come that may be awaited before its end. Whoever is told and still waits enters itself again, so
-- that no store stays that has gone.
function verbs.answered(run, prefix, name, sender)
  local awaiting = call('HGET', run, 'e')
  if not awaiting then return end
  if tell_awaiting(awaiting, prefix, name, sender) then
    call('HSET', run, 'e', ' ' .. sender .. ' ')
  else
    call('HDEL', run, 'e')
  end
end

-- It has ended, and nothing more will come.
function verbs.closed(run, prefix, name, sender)
  local awaiting = call('HMGET', run, 'w', 'e')
  if not awaiting[1] and not awaiting[2] then return end
  tell_awaiting(awaiting[1], prefix, name, sender)
  tell_awaiting(awaiting[2], prefix, name, sender)
  call('HDEL', run, 'w', 'e')
end

function verbs.tell(_, channel, message)
  call('PUBLISH', channel, message)
end

local function define_seldom()

-- (seldom.lua)

end

local function holds(kind, key, from, to)
  if kind == 'n' then return call('SCARD', key) == tonumber(ARGV[from]) end
  if kind == '=' and to == from + 1 then return call('HGET', key, ARGV[from]) == ARGV[to] end
  if kind == '=' then
    local fields = {}
    for i = from, to, 2 do fields[#fields + 1] = ARGV[i] end
    for i, value in ipairs(call('HMGET', key, unpack(fields))) do
      if value ~= ARGV[from + 2 * i - 1] then return false end
    end
    return true
  end
  local there = kind == '+' and 1 or 0
  for i = from, to do
    if call('HEXISTS', key, ARGV[i]) ~= there then return false end
  end
  return true
end

local clock = call('TIME')
local time = clock[1] * 1000000 + clock[2]
local time_text = string.format('%.0f', time)
local now = tonumber(ARGV[1])
if now and (now > time or now < time - STALE_MICROS) then return {2, time_text} end

-- A server that is about to get their slot runs no script that declares several keys unless all are there.
local names = tonumber(ARGV[4])
for i = 1, names do KEYS[i] = ARGV[4 + i] end

local at = 5 + names
-- The next check, read or write: what and of which key, and the places of its arguments, from and to.
local function next_part()
  local name, key, from = ARGV[at], KEYS[tonumber(ARGV[at + 1])], at + 3
  at = from + tonumber(ARGV[at + 2])
  return name, key, from, at - 1
end

for number = 1, tonumber(ARGV[2]) do
  if not holds(next_part()) then return {1, time_text, number} end
end

local function execute(name, key, from, to)
  local verb = verbs[name]
  if not verb and string.byte(name) >= 97 then
    define_seldom()
    verb = verbs[name]
  end
  if verb then return verb(key, unpack(ARGV, from, to)) end
  return call(name, key, unpack(ARGV, from, to))
end

local replies = {}
local size = #ARGV
for number = 1, tonumber(ARGV[3]) do replies[number] = execute(next_part()) or false end
while at <= size do execute(next_part()) end
return {0, time_text, replies}
