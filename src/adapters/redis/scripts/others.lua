-- What many steps need, but not those of every run: defined when one does.

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

function verbs.tell(_, channel, message)
  call('PUBLISH', channel, message)
end
