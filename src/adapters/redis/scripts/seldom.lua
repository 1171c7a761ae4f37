-- What only some steps need, defined when one does.

-- What waits for a session that no longer receives goes to anyone, and keeps its place: (own queue, queue), as many as
-- there are.
function verbs.give_back(index, channel, ...)
  local pairs_ = {...}
  for i = 1, #pairs_, 2 do
    local own, queue = KEYS[tonumber(pairs_[i])], KEYS[tonumber(pairs_[i + 1])]
    local hints = call('ZRANGE', own, 0, -1, 'WITHSCORES')
    for j = 1, #hints, 2 do call('ZADD', queue, 'NX', hints[j + 1], hints[j]) end
    call('DEL', own)
    call('SREM', index, own)
    call('PUBLISH', channel, queue)
  end
end

-- Counts a closed run among those that are kept, once; tells everybody when they take more than they may.
function verbs.keep(closed, counter, member, at, bytes, most, channel)
  if call('ZADD', closed, 'NX', at, member) == 0 then return end
  if call('INCRBY', KEYS[tonumber(counter)], bytes) > tonumber(most) then call('PUBLISH', channel, '- 0') end
end

-- … and no more.
function verbs.unkeep(closed, counter, member, bytes)
  if call('ZREM', closed, member) == 1 then call('INCRBY', KEYS[tonumber(counter)], '-' .. bytes) end
end

-- The oldest of them, but never the newest, while all together take more than `most`: a thirty-second more than there must be,
-- so that not every end of a run makes some. Up to `count`.
function verbs.excess(closed, counter, most, count)
  local over = tonumber(call('GET', KEYS[tonumber(counter)]) or '0') - tonumber(most)
  if over <= 0 then return {} end
  local members, excess = call('ZRANGE', closed, 0, tonumber(count)), {}
  for i = 1, math.min(#members - 1, tonumber(count)) do
    if over + tonumber(most) / 32 <= 0 then break end
    excess[i] = members[i]
    over = over - tonumber(string.match(members[i], '^c(%d+):'))
  end
  return excess
end

-- Enters a member under the number that it has in `index`.
function verbs.file(file, index, member)
  call('ZADD', file, call('ZSCORE', KEYS[tonumber(index)], member), member)
end

-- Removes a field that has this value.
function verbs.unname(names, field, value)
  if call('HGET', names, field) == value then call('HDEL', names, field) end
end

-- A run holds a blob, which may be there already.
function verbs.hold(blob, holders, held, run, digest, bytes)
  if call('EXISTS', blob) == 0 then call('SET', blob, bytes) else call('PERSIST', blob) end
  call('SADD', KEYS[tonumber(holders)], run)
  call('SADD', KEYS[tonumber(held)], digest)
end

-- … and no more: with the last that holds it, it goes after `grace`.
function verbs.unhold(blob, holders, run, grace)
  call('SREM', KEYS[tonumber(holders)], run)
  if call('EXISTS', KEYS[tonumber(holders)]) == 0 then call('PEXPIRE', blob, grace) end
end

-- All of them become another run's; answers go the same way. A command over two keys needs both while their slot is on the
-- move, so there is one to be overwritten.
function verbs.move_keys(keys, to)
  if call('EXISTS', keys) == 0 then return end
  to = KEYS[tonumber(to)]
  call('SET', to, '')
  call('RENAME', keys, to)
end

-- Answers of one kind become one of another, as of `seen`.
function verbs.replace(answers, keys, from, to, seen)
  local all = call('HGETALL', answers)
  for i = 1, #all, 2 do
    if all[i + 1] == from then
      call('HSET', answers, all[i], to)
      call('ZADD', KEYS[tonumber(keys)], seen, all[i])
    end
  end
end

-- A stream that begins, or begins anew: its numbers are behind the time, and so behind all that it ever had.
local function begin_stream(stream, frames)
  local clock = call('TIME')
  local before = clock[1] * 1000000 + clock[2]
  call('DEL', frames)
  call('HSET', stream, 'first', string.format('%.0f', before + 1))
  return before
end

-- Forgets the frames from number `from` on, chunk by chunk: a page of them may be large.
local function forget_from(frames, from)
  repeat
    local entries = call('XRANGE', frames, from .. '-0', '+', 'COUNT', 64)
    local ids = {}
    for i, entry in ipairs(entries) do ids[i] = entry[1] end
    if #ids > 0 then call('XDEL', frames, unpack(ids)) end
  until #entries < 64
end

-- Appends frames of `step` to a stream, but for those that it has written under this fence already; tells readers.
-- `written`: how many the caller knows of. Fences are of 20 digits, and so compared as text.
-- {0, number of the step's newest frame}, {1} if a higher fence has written, {2, frames there are} if there is a gap,
-- {3, number of the stream's newest frame} if that is not the one up to which it replaces
-- `replaces`: a number from which on older frames are forgotten for the new ones, up to `newest_known`; 0: none.
function verbs.append(stream, frames, channel, keep, step, fence, written, replaces, newest_known, ...)
  frames = KEYS[tonumber(frames)]
  local held, there, newest = fence, 0, '0'
  local mark = call('HGET', stream, 'step:' .. step)
  if mark then held, there, newest = string.match(mark, '^(%d+) (%d+) (%d+)$') end
  if fence < held then return {1} end
  there, written = fence == held and tonumber(there) or 0, tonumber(written)
  if written > there then return {2, there} end
  local last = call('HGET', stream, 'last')
  local new, first = {...}, there - written + 1
  local forgets = replaces ~= '0' and first == 1 and #new > 0
  if forgets and (last or '0') ~= newest_known then return {3, tonumber(last or '0')} end
  last = tonumber(last or begin_stream(stream, frames))
  if forgets then forget_from(frames, replaces) end
  for i = first, #new do
    last = last + 1
    newest = string.format('%.0f', last)
    call('XADD', frames, newest .. '-0', 'step', step, 'bytes', new[i])
  end
  there = string.format('%.0f', math.max(there, written + #new))
  call('HSET', stream, 'last', string.format('%.0f', last), 'step:' .. step,
             fence .. ' ' .. there .. ' ' .. newest)
  call('PEXPIRE', stream, keep)
  call('PEXPIRE', frames, keep)
  if first <= #new then call('PUBLISH', channel, newest) end
  return {0, tonumber(newest)}
end

-- Forgets the frames of a stream up to `seq`.
function verbs.trim_frames(stream, frames, seq)
  local bounds = call('HMGET', stream, 'first', 'last')
  local first = math.min(tonumber(seq), tonumber(bounds[2] or '0')) + 1
  if first <= tonumber(bounds[1] or '1') then return end
  first = string.format('%.0f', first)
  call('XTRIM', KEYS[tonumber(frames)], 'MINID', first .. '-0')
  call('HSET', stream, 'first', first)
end

-- (limiter.lua)

-- (places.lua)

-- Does once, with a key of its own, all that steps ever do: a user who may not do some of it is found out
-- before that can tear a step. Answers with the first error, or with nothing.
function verbs.probe(key)
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
      {'XTRIM', 'MINID', '2-0'}, {'XDEL', '2-0'}}
  all{{'SET', 'a', 'PX', '9'}, {'GETEX', 'PX', '9'}, {'PEXPIRE', '9'}, {'PERSIST'}}
  all{{'INCR'}, {'INCRBY', '1'}, {'GET'}, {'EXISTS'}, {'RENAME', key}}
  try('DEL', key)
  try('PUBLISH', key, '')
  return failed
end
