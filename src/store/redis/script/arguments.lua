-- What everything below uses: the arguments, one after the other, and the time. Numbers are
-- doubles, exact up to 2^53.

local EXACT = 9007199254740992
local MICROS = 1000000

local cursor = 1

-- The next argument.
local function take()
  cursor = cursor + 1
  return ARGV[cursor]
end

-- Microseconds since the epoch: the caller's, or else the clock of this server, which all
-- callers share. Asked for once, and only if an operation needs it.
local now = tonumber(ARGV[1])

local function moment()
  if not now then
    local time = redis.call('TIME')
    now = time[1] * MICROS + time[2]
  end
  return now
end
