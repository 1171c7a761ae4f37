-- Whoever decided by a time that is not this server's is told the time, and nothing is done. ARGV[1]: that time, or empty.
local STALE_MICROS = 5000000
local clock = call('TIME')
local time = clock[1] * 1000000 + clock[2]
local now = tonumber(ARGV[1])
if now and (now > time or now < time - STALE_MICROS) then return {2, time} end
