-- Calls the roll.
--   KEYS[1]   who is here: for each an id and the moment until which that holds, in
--             microseconds by the clock of this server
--   ARGV      the id of who calls; for how many milliseconds it is here, 0 if it leaves;
--             how many may be here, and for how many milliseconds at most
-- Replies with how many are here.

local MILLI = 1000
local id, life, most, longest = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local here = {}
for other, till in string.gmatch(redis.call('GET', KEYS[1]) or '', '(%x+) (%d+)\n') do
  local left = tonumber(till) - now
  -- A clock that was set back would keep the dead alive.
  if other ~= id and left > 0 and left <= longest * MILLI and #here < most then
    here[#here + 1] = other .. ' ' .. till .. '\n'
  end
end
if life > 0 and #here < most then
  here[#here + 1] = string.format('%s %.0f\n', id, now + life * MILLI)
end
redis.call('SET', KEYS[1], table.concat(here), 'PX', #here > 0 and longest or 1)
return #here
