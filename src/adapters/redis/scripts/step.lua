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

local verbs = setmetatable({}, {__newindex = function(all, name, verb)
  if rawget(all, name) then error(name .. ' is there twice') end
  rawset(all, name, verb)
end})

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

-- What waits for a session that no longer receives goes to anyone, and keeps its place: (own queue, queue), as many as
-- there are.
function verbs.RETURN(index, channel, ...)
  local pairs_ = {...}
  for i = 1, #pairs_, 2 do
    local own, queue = KEYS[tonumber(pairs_[i])], KEYS[tonumber(pairs_[i + 1])]
    local hints = redis.call('ZRANGE', own, 0, -1, 'WITHSCORES')
    for j = 1, #hints, 2 do redis.call('ZADD', queue, 'NX', hints[j + 1], hints[j]) end
    redis.call('DEL', own)
    redis.call('SREM', index, own)
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

-- Counts a closed run among those that are kept, once; tells everybody when they take more than they may.
function verbs.KEEP(closed, counter, member, at, bytes, most, channel)
  if redis.call('ZADD', closed, 'NX', at, member) == 0 then return end
  if redis.call('INCRBY', KEYS[tonumber(counter)], bytes) > tonumber(most) then redis.call('PUBLISH', channel, '- 0') end
end

-- … and no more.
function verbs.UNKEEP(closed, counter, member, bytes)
  if redis.call('ZREM', closed, member) == 1 then redis.call('INCRBY', KEYS[tonumber(counter)], '-' .. bytes) end
end

-- The oldest of them, but never the newest, while all together take more than `most`: a thirty-second more than there must be,
-- so that not every end of a run makes some. Up to `count`.
function verbs.EXCESS(closed, counter, most, count)
  local over = tonumber(redis.call('GET', KEYS[tonumber(counter)]) or '0') - tonumber(most)
  if over <= 0 then return {} end
  local members, excess = redis.call('ZRANGE', closed, 0, tonumber(count)), {}
  for i = 1, math.min(#members - 1, tonumber(count)) do
    if over + tonumber(most) / 32 <= 0 then break end
    excess[i] = members[i]
    over = over - tonumber(string.match(members[i], '^c(%d+):'))
  end
  return excess
end

-- Enters a member under the next number.
function verbs.ENTER(index, counter, member)
  redis.call('ZADD', index, redis.call('INCR', KEYS[tonumber(counter)]), member)
end

-- … under the number that it has in `index`.
function verbs.FILE(file, index, member)
  redis.call('ZADD', file, redis.call('ZSCORE', KEYS[tonumber(index)], member), member)
end

-- Removes a field that has this value.
function verbs.UNNAME(names, field, value)
  if redis.call('HGET', names, field) == value then redis.call('HDEL', names, field) end
end

-- A run holds a blob, which may be there already.
function verbs.HOLD(blob, holders, held, run, digest, bytes)
  if redis.call('EXISTS', blob) == 0 then redis.call('SET', blob, bytes) else redis.call('PERSIST', blob) end
  redis.call('SADD', KEYS[tonumber(holders)], run)
  redis.call('SADD', KEYS[tonumber(held)], digest)
end

-- … and no more: with the last that holds it, it goes after `grace`.
function verbs.UNHOLD(blob, holders, run, grace)
  redis.call('SREM', KEYS[tonumber(holders)], run)
  if redis.call('EXISTS', KEYS[tonumber(holders)]) == 0 then redis.call('PEXPIRE', blob, grace) end
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

-- All of them become another run's; answers go the same way.
function verbs.MOVEKEYS(keys, to)
  if redis.call('EXISTS', keys) == 1 then redis.call('RENAME', keys, KEYS[tonumber(to)]) end
end

-- Answers of one kind become one of another, as of `seen`.
function verbs.REPLACE(answers, keys, from, to, seen)
  local all = redis.call('HGETALL', answers)
  for i = 1, #all, 2 do
    if all[i + 1] == from then
      redis.call('HSET', answers, all[i], to)
      redis.call('ZADD', KEYS[tonumber(keys)], seen, all[i])
    end
  end
end

-- Takes a run's timers out of the due index.
function verbs.TIMERS(timers, due, run)
  for _, id in ipairs(redis.call('HKEYS', timers)) do
    redis.call('ZREM', KEYS[tonumber(due)], 't' .. id .. ':' .. run)
  end
  redis.call('DEL', timers)
end

-- Notes in `field` that store `id` awaits the end of a run ('w'), or something that may come before it ('e').
function verbs.AWAIT(run, id, field)
  if redis.call('EXISTS', run) == 0 then return end
  local awaiting = redis.call('HGET', run, field) or ''
  if not string.find(awaiting, ' ' .. id .. ' ', 1, true) then
    redis.call('HSET', run, field, awaiting .. ' ' .. id .. ' ')
  end
end

-- Tells the stores noted in `field`, but for `sender`, which knows. Whoever is told and still waits enters itself again,
-- so that no store stays that has gone.
local function tell_awaiting(run, field, prefix, name, sender)
  local awaiting = redis.call('HGET', run, field) or ''
  local stays = false
  for id in string.gmatch(awaiting, '%S+') do
    if id == sender then stays = true else redis.call('PUBLISH', prefix .. id, name) end
  end
  if stays then
    redis.call('HSET', run, field, ' ' .. sender .. ' ')
  elseif awaiting ~= '' then
    redis.call('HDEL', run, field)
  end
end

-- Something of a run has come that may be awaited before its end.
function verbs.ANSWERED(run, prefix, name, sender) tell_awaiting(run, 'e', prefix, name, sender) end

-- It has ended, and nothing more will come.
function verbs.CLOSED(run, prefix, name, sender)
  for _, field in ipairs{'w', 'e'} do
    tell_awaiting(run, field, prefix, name, sender)
    redis.call('HDEL', run, field)
  end
end

-- A stream that begins, or begins anew: its numbers are behind the time, and so behind all that it ever had.
local function begin_stream(stream, frames)
  local clock = redis.call('TIME')
  local before = clock[1] * 1000000 + clock[2]
  redis.call('DEL', frames)
  redis.call('HSET', stream, 'first', string.format('%.0f', before + 1))
  return before
end

-- Forgets the frames from number `from` on, chunk by chunk: a page of them may be large.
local function forget_from(frames, from)
  repeat
    local entries = redis.call('XRANGE', frames, from .. '-0', '+', 'COUNT', 64)
    local ids = {}
    for i, entry in ipairs(entries) do ids[i] = entry[1] end
    if #ids > 0 then redis.call('XDEL', frames, unpack(ids)) end
  until #entries < 64
end

-- Appends frames of `step` to a stream, but for those that it has written under this fence already; tells readers.
-- `written`: how many the caller knows of. Fences are of 20 digits, and so compared as text.
-- {0, number of the step's newest frame}, {1} if a higher fence has written, {2, frames there are} if there is a gap
-- `replaces`: a number from which on older frames are forgotten for the new ones; 0: none.
function verbs.APPEND(stream, frames, channel, keep, step, fence, written, replaces, ...)
  frames = KEYS[tonumber(frames)]
  local held, there, newest = fence, 0, '0'
  local mark = redis.call('HGET', stream, 'step:' .. step)
  if mark then held, there, newest = string.match(mark, '^(%d+) (%d+) (%d+)$') end
  if fence < held then return {1} end
  there, written = fence == held and tonumber(there) or 0, tonumber(written)
  if written > there then return {2, there} end
  local last = tonumber(redis.call('HGET', stream, 'last') or begin_stream(stream, frames))
  local new, first = {...}, there - written + 1
  if replaces ~= '0' and first == 1 and #new > 0 then forget_from(frames, replaces) end
  for i = first, #new do
    last = last + 1
    newest = string.format('%.0f', last)
    redis.call('XADD', frames, newest .. '-0', 'step', step, 'bytes', new[i])
  end
  there = string.format('%.0f', math.max(there, written + #new))
  redis.call('HSET', stream, 'last', string.format('%.0f', last), 'step:' .. step,
             fence .. ' ' .. there .. ' ' .. newest)
  redis.call('PEXPIRE', stream, keep)
  redis.call('PEXPIRE', frames, keep)
  if first <= #new then redis.call('PUBLISH', channel, newest) end
  return {0, tonumber(newest)}
end

-- Forgets the frames of a stream up to `seq`.
function verbs.TRIMFRAMES(stream, frames, seq)
  local bounds = redis.call('HMGET', stream, 'first', 'last')
  local first = math.min(tonumber(seq), tonumber(bounds[2] or '0')) + 1
  if first <= tonumber(bounds[1] or '1') then return end
  first = string.format('%.0f', first)
  redis.call('XTRIM', KEYS[tonumber(frames)], 'MINID', first .. '-0')
  redis.call('HSET', stream, 'first', first)
end

-- (limiter.lua)

-- (places.lua)

function verbs.TELL(_, channel, message)
  redis.call('PUBLISH', channel, message)
end

-- Does once, with a key of its own, all that steps ever do: a user who may not do some of it is found out
-- before that can tear a step. Answers with the first error, or with nothing.
function verbs.PROBE(key)
  local failed
  local function try(command, ...)
    local reply = redis.pcall(command, ...)
    if not failed and type(reply) == 'table' and reply.err then
      failed = redis.error_reply('NOPERM ' .. command .. ': ' .. reply.err)
    end
  end
  local function all(commands)
    try('DEL', key)
    for _, command in ipairs(commands) do try(command[1], key, unpack(command, 2)) end
  end
  all{{'HSET', 'a', '1'}, {'HSETNX', 'b', '1'}, {'HGET', 'a'}, {'HMGET', 'a'}, {'HEXISTS', 'a'}, {'HKEYS'},
      {'HGETALL'}, {'HDEL', 'b'}, {'HINCRBY', 'c', '1'}}
  all{{'SADD', 'a', 'b'}, {'SREM', 'b'}, {'SMEMBERS'}, {'SCARD'}, {'SISMEMBER', 'a'}}
  all{{'ZADD', '1', 'a'}, {'ZADD', '2', 'b'}, {'ZSCORE', 'a'}, {'ZREVRANK', 'a'}, {'ZCARD'},
      {'ZRANGE', '0', '0'}, {'ZRANGEBYSCORE', '5', '6'}, {'ZREM', 'b'}, {'ZREMRANGEBYSCORE', '5', '6'},
      {'ZREMRANGEBYRANK', '5', '6'}, {'ZPOPMIN'}}
  all{{'XADD', '1-0', 'a', 'b'}, {'XADD', '2-0', 'a', 'b'}, {'XRANGE', '-', '+'}, {'XREVRANGE', '+', '-'},
      {'XTRIM', 'MINID', '2-0'}}
  all{{'SET', 'a', 'PX', '9'}, {'GETEX', 'PX', '9'}, {'PEXPIRE', '9'}, {'PERSIST'}}
  all{{'INCR'}, {'INCRBY', '1'}, {'GET'}, {'EXISTS'}, {'RENAME', key}}
  try('DEL', key)
  try('PUBLISH', key, '')
  return failed
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
  local verb = verbs[name]
  if verb then return verb(key, unpack(ARGV, from, to)) end
  return redis.call(name, key, unpack(ARGV, from, to))
end

local replies = {}
for number = 1, tonumber(ARGV[3]) do replies[number] = execute() or false end
while at <= #ARGV do execute() end
return {0, time_text, replies}
