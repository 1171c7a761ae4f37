-- One atomic step: checks, then reads, then writes. Nothing is written unless every check holds, since
-- Redis rolls nothing back.
--
-- ARGV: now, checks, reads, then the checks and the reads and the writes, one behind the other.
--   now     the caller's idea of this server's time in microseconds, by which it has decided; empty: its
--           own clock rules
--   check   kind, key, field, value      '=' the field has this value, '+' is there, '-' is not;
--                                        'n' the set has so many members
--   read,   name, key, count, count arguments: a command, or one of `verbs`
--   write
-- Keys are given by their place in KEYS.
-- Answers {0, time, replies to the reads}, {1, time, number of the check that does not hold}, or
-- {2, time} when `now` is too far from the time.

local STALE_MICROS = 5000000

-- A call runs all this from the top, so only what most steps need is defined at once.
local verbs = {}

-- Entries of a stream behind id `after`: no more than `count`, and after the first one no more than `bytes`.
-- {1 if there are more, id, first value, second value, id, …}
function verbs.PAGE(key, after, count, bytes)
  local page, size, left, from = {0}, 0, tonumber(count), '(' .. after
  while left > 0 do
    local chunk = math.min(left, 16)
    local entries = redis.call('XRANGE', key, from, '+', 'COUNT', chunk)
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
function verbs.TAKE(first, max, ...)
  local taken, left = {}, tonumber(max)
  for _, queue in ipairs({first, ...}) do
    if queue ~= first then queue = KEYS[tonumber(queue)] end
    if left == 0 then break end
    local popped = redis.call('ZPOPMIN', queue, left)
    for i = 1, #popped, 2 do taken[#taken + 1] = popped[i] end
    left = left - #popped / 2
  end
  return taken
end

-- Hints go by priority and then by number, which their score tells in one: a double has integers of 53 bits, three of
-- them for the priority. Numbers go up from the middle of the others, and down for what is given back, which so is the
-- first of its priority; they last for 17 years of a million hints a second.
local PRIORITY, MIDDLE = 2 ^ 50, 2 ^ 49

-- Puts a hint into `queue`, or into `own` if its session receives, as the 'first' or the 'last' of its priority; wakes
-- receivers when it is the first of all.
function verbs.HINT(queue, hint, priority, place, channel, counter, receivers, session, own, index)
  if session ~= '' and redis.call('SISMEMBER', KEYS[tonumber(receivers)], session) == 1 then
    queue = KEYS[tonumber(own)]
    redis.call('SADD', KEYS[tonumber(index)], queue)
  end
  local number = redis.call('INCR', KEYS[tonumber(counter)])
  if place == 'first' then number = -number end
  local score = string.format('%.0f', priority * PRIORITY + MIDDLE + number)
  if redis.call('ZADD', queue, 'NX', score, hint) == 1 and redis.call('ZCARD', queue) == 1 then
    redis.call('PUBLISH', channel, queue)
  end
end

-- Enters a member in a due index, and tells everybody when nothing in it was due sooner.
function verbs.DUE(index, at, member, channel, sender)
  local first = redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')
  redis.call('ZADD', index, at, member)
  if not first[1] or tonumber(at) < tonumber(first[2]) then
    redis.call('PUBLISH', channel, sender .. ' ' .. at)
  end
end

-- Enters a member under the next number.
function verbs.ENTER(index, counter, member)
  redis.call('ZADD', index, redis.call('INCR', KEYS[tonumber(counter)]), member)
end

-- Whether a dedupe key is remembered: seen no earlier than `before`, and among the `kept` newest.
function verbs.HASKEY(keys, key, before, kept)
  local seen = redis.call('ZSCORE', keys, key)
  if not seen or tonumber(seen) < tonumber(before) then return 0 end
  return redis.call('ZREVRANK', keys, key) < tonumber(kept) and 1 or 0
end

-- Forgets the others, and what was answered to them.
function verbs.TRIM(keys, before, kept, answers)
  answers = KEYS[tonumber(answers)]
  if redis.call('EXISTS', answers) == 1 then
    for _, range in ipairs{{'-inf', '(' .. before, 'BYSCORE'}, {0, -1 - tonumber(kept)}} do
      for _, key in ipairs(redis.call('ZRANGE', keys, unpack(range))) do
        redis.call('HDEL', answers, key)
      end
    end
  end
  redis.call('ZREMRANGEBYSCORE', keys, '-inf', '(' .. before)
  redis.call('ZREMRANGEBYRANK', keys, 0, -1 - tonumber(kept))
end

-- Takes a run's timers out of the due index.
function verbs.TIMERS(timers, due, run)
  local ids = redis.call('HKEYS', timers)
  for _, id in ipairs(ids) do redis.call('ZREM', KEYS[tonumber(due)], 't' .. id .. ':' .. run) end
  if #ids > 0 then redis.call('DEL', timers) end
end

-- Notes in `field` that store `id` awaits the end of a run ('w'), or something that may come before it ('e').
function verbs.AWAIT(run, id, field)
  if redis.call('EXISTS', run) == 0 then return end
  local awaiting = redis.call('HGET', run, field) or ''
  if not string.find(awaiting, ' ' .. id .. ' ', 1, true) then
    redis.call('HSET', run, field, awaiting .. ' ' .. id .. ' ')
  end
end

-- Tells the stores of `awaiting`, but for `sender`, which knows. Whether that is one of them.
local function tell_awaiting(awaiting, prefix, name, sender)
  local is_one = false
  for id in string.gmatch(awaiting or '', '%S+') do
    if id == sender then is_one = true else redis.call('PUBLISH', prefix .. id, name) end
  end
  return is_one
end

-- Something of a run has come that may be awaited before its end. Whoever is told and still waits enters itself again, so
-- that no store stays that has gone.
function verbs.ANSWERED(run, prefix, name, sender)
  local awaiting = redis.call('HGET', run, 'e')
  if not awaiting then return end
  if tell_awaiting(awaiting, prefix, name, sender) then
    redis.call('HSET', run, 'e', ' ' .. sender .. ' ')
  else
    redis.call('HDEL', run, 'e')
  end
end

-- It has ended, and nothing more will come.
function verbs.CLOSED(run, prefix, name, sender)
  local awaiting = redis.call('HMGET', run, 'w', 'e')
  if not awaiting[1] and not awaiting[2] then return end
  tell_awaiting(awaiting[1], prefix, name, sender)
  tell_awaiting(awaiting[2], prefix, name, sender)
  redis.call('HDEL', run, 'w', 'e')
end

function verbs.TELL(_, channel, message)
  redis.call('PUBLISH', channel, message)
end

-- Those of seldom.lua.
local seldom = {ACQUIRE = true, APPEND = true, ENTERPLACE = true, EXCESS = true, FILE = true, HOLD = true, KEEP = true,
                LEAVEPLACE = true, MOVEKEYS = true, PROBE = true, REPLACE = true, RETURN = true, SETTLE = true,
                TRIMFRAMES = true, UNHOLD = true, UNKEEP = true, UNNAME = true}

local function define_seldom()

-- (seldom.lua)

end

local function holds(kind, key, field, value)
  if kind == '=' then return redis.call('HGET', key, field) == value end
  if kind == '+' then return redis.call('HEXISTS', key, field) == 1 end
  if kind == '-' then return redis.call('HEXISTS', key, field) == 0 end
  return redis.call('SCARD', key) == tonumber(value)
end

local clock = redis.call('TIME')
local time = clock[1] * 1000000 + clock[2]
local time_text = string.format('%.0f', time)
local now = tonumber(ARGV[1])
if now and (now > time or now < time - STALE_MICROS) then return {2, time_text} end

local at = 4
for number = 1, tonumber(ARGV[2]) do
  if not holds(ARGV[at], KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2], ARGV[at + 3]) then
    return {1, time_text, number}
  end
  at = at + 4
end

local function execute()
  local name, key, count = ARGV[at], KEYS[tonumber(ARGV[at + 1])], tonumber(ARGV[at + 2])
  local from, to = at + 3, at + 2 + count
  at = to + 1
  if seldom[name] and not verbs[name] then define_seldom() end
  local verb = verbs[name]
  if verb then return verb(key, unpack(ARGV, from, to)) end
  return redis.call(name, key, unpack(ARGV, from, to))
end

local replies = {}
for number = 1, tonumber(ARGV[3]) do replies[number] = execute() or false end
while at <= #ARGV do execute() end
return {0, time_text, replies}
