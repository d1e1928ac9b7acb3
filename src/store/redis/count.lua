-- Applies one batch; each key on its own.
--   KEYS[i]        the counter of the window
--   ARGV[2i - 1]   hits to add, or with a minus sign to give back; at most 2^63 - 1
--   ARGV[2i]       seconds to live of a counter that begins here
-- Replies with one element per key: the value after, or that key's error.
--
-- Numbers here are doubles, exact up to 2^53: amounts stay text, and larger values are
-- read back as text.

local EXACT = 9007199254740992

local function after(key, reply)
  if type(reply) == 'number' and (reply >= EXACT or reply <= -EXACT) then
    return redis.pcall('GET', key)
  end
  return reply
end

local function spend(key, hits, ttl)
  local reply = redis.pcall('INCRBY', key, hits)
  if type(reply) == 'number' then
    -- A value equal to what was added: the counter begins here. (Or it stood at zero, and
    -- living a little longer does no harm.) Nothing runs between the two commands, so no
    -- counter stays without an end, and counters that exist cost one command only.
    if reply == tonumber(hits) then
      redis.call('EXPIRE', key, ttl)
    end
  elseif string.find(reply.err, 'overflow', 1, true) then
    -- Overwrites all digits, as there are never more, and leaves the time to live alone.
    redis.call('SETRANGE', key, 0, '9223372036854775807')
    return '9223372036854775807'
  end
  return after(key, reply)
end

-- Whether one count is at most another; both are decimal texts.
local function at_most(a, b)
  return #a < #b or (#a == #b and a <= b)
end

local function give_back(key, hits)
  local held = redis.pcall('GET', key)
  if not held then
    return 0
  elseif type(held) == 'table' then
    return held
  end
  return after(key, redis.pcall('DECRBY', key, at_most(hits, held) and hits or held))
end

local replies = {}
for i, key in ipairs(KEYS) do
  local amount, ttl = ARGV[2 * i - 1], ARGV[2 * i]
  if string.sub(amount, 1, 1) == '-' then
    replies[i] = give_back(key, string.sub(amount, 2))
  else
    replies[i] = spend(key, amount, ttl)
  end
end
return replies
