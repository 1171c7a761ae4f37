-- One atomic step: checks, then reads, then writes. Nothing is written unless every check holds, since
-- Redis rolls nothing back.
--
-- ARGV: now, plan, the names, then the checks and the reads and the writes, one behind the other.
--   now     the caller's idea of this server's time in microseconds, by which it has decided; empty: its
--           own clock rules
--   plan    numbers of three bytes: how many names, checks, reads and writes there are; then of each but the names the
--           place of its key in KEYS, which the names take, if there are any, and how many arguments it has
--   check   kind, arguments: '=' these fields have these values, '+' these fields are there, '-' are not; 'n' the set
--                            has so many members
--   read,   name, arguments: a command, or one of `verbs`, which are in lower case
--   write
-- Answers the time, or {0, time, replies to the reads} if there are any; {1, time, number of the check that does not
-- hold}; or {2, time} when `now` is too far from the time.

-- (common.lua)

local byte = string.byte

local function define_others()

-- (others.lua)

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

-- (clock.lua)

local plan, planned = ARGV[2], 1
-- The next two numbers of the plan.
local function next_two()
  local a, b, c, d, e, f = byte(plan, planned, planned + 5)
  planned = planned + 6
  return a * 65536 + b * 256 + c, d * 65536 + e * 256 + f
end

local names, checks = next_two()
local reads, writes = next_two()

-- A server that is about to get their slot runs no script that declares several keys unless all are there.
for i = 1, names do KEYS[i] = ARGV[2 + i] end

local at = 3 + names
-- The next check, read or write: what and of which key, and the places of its arguments, from and to.
local function next_part()
  local key, count = next_two()
  local name, from = ARGV[at], at + 1
  at = from + count
  return name, KEYS[key], from, at - 1
end

for number = 1, checks do
  if not holds(next_part()) then return {1, time, number} end
end

local function execute(name, key, from, to)
  if byte(name) < 97 then return call(name, key, unpack(ARGV, from, to)) end
  if not verbs[name] then define_others() end
  if not verbs[name] then define_seldom() end
  return verbs[name](key, unpack(ARGV, from, to))
end

local replies = {}
for number = 1, reads do replies[number] = execute(next_part()) or false end
for _ = 1, writes do execute(next_part()) end
if reads == 0 then return time end
return {0, time, replies}
