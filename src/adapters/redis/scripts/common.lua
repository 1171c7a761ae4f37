-- What every script needs: that of all steps, and those made for steps of one shape (shape.h).

local call = redis.call

-- A call runs all this from the top, so only what nearly every run needs is defined at once.
local verbs = {}

-- Enters members in a due index, and tells everybody when nothing in it was due sooner: (at, member), as many as there are.
function verbs.due(index, channel, sender, ...)
  local first = call('ZRANGE', index, '0', '0', 'WITHSCORES')[2]
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

-- Tells the stores of `awaiting`, but for `sender`, which knows. Whether that is one of them.
local function tell_awaiting(awaiting, prefix, name, sender)
  if not awaiting then return false end
  local is_one = false
  for id in string.gmatch(awaiting, '%S+') do
    if id == sender then is_one = true else call('PUBLISH', prefix .. id, name) end
  end
  return is_one
end

-- It has ended, and nothing more will come.
function verbs.closed(run, prefix, name, sender)
  local awaiting = call('HMGET', run, 'w', 'e')
  if not awaiting[1] and not awaiting[2] then return end
  tell_awaiting(awaiting[1], prefix, name, sender)
  tell_awaiting(awaiting[2], prefix, name, sender)
  call('HDEL', run, 'w', 'e')
end
