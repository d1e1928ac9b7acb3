-- Sums: fixed windows, whose keys name the window and hold plain integers. They may reach
-- 2^63 - 1: amounts stay text, and large values are read back as text.

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
    local before = redis.call('GET', key)
    -- Overwrites all digits, as there are never more, and leaves the time to live alone.
    redis.call('SETRANGE', key, 0, '9223372036854775807')
    return '9223372036854775807', before
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

-- Tells whoever remembers what the counter held that it holds less. Those who may not
-- publish find that nobody listens either.
local function tell_given_back(key)
  redis.pcall('PUBLISH', 'tidegate:given-back', key)
end

-- Operations that need no step: they count whatever the counter holds. The amount is hits
-- to add, or with a minus sign to give back.
local function count_always(key, amount, ttl)
  if string.sub(amount, 1, 1) == '-' then
    local reply = give_back(key, string.sub(amount, 2))
    tell_given_back(key)
    return reply
  end
  local reply, before = spend(key, amount, ttl)
  -- Several who added together tell their parts of it from what was there before.
  return before and { before } or reply
end
