-- The fixed window, whose key names the window and holds a plain integer. It may reach
-- 2^63 - 1: amounts stay text, and large values are read back as text.

local fixed_window = {}

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

-- An operation that needs no step: it counts whatever the counter holds. The amount is
-- hits to add, or with a minus sign to give back.
local function count_always(key, amount, ttl)
  if string.sub(amount, 1, 1) == '-' then
    return give_back(key, string.sub(amount, 2))
  end
  return spend(key, amount, ttl)
end

function fixed_window.read(op)
  op.amount = take()
  op.hits = tonumber(op.amount)
end

-- The count as a number, which is as good as exact: no limit reaches 2^53.
function fixed_window.load(key)
  local text = redis.pcall('GET', key)
  if type(text) == 'table' then
    return text
  end
  local digits = text == '0' and text or text and string.match(text, '^%-?([1-9]%d*)$')
  if text and not (digits and at_most(digits, '9223372036854775807')) then
    return { err = 'ERR value is not an integer or out of range' }
  end
  return { count = tonumber(text or 0) }
end

function fixed_window.step(op, state)
  if op.action == 'give' then
    local count = math.max(state.count - op.hits, math.min(state.count, 0))
    return { count = count, exists = true }, true, true
  end
  local sum = state.count + op.hits
  local admitted = sum <= op.rate
  local spent = admitted or op.spends
  if not spent or op.hits == 0 then
    return state, admitted, spent
  end
  return { count = sum, exists = true }, admitted, spent
end

function fixed_window.look(_, state)
  return state
end

function fixed_window.save(op)
  local save = op.action == 'give' and give_back or spend
  local reply = save(op.key, op.amount, op.ttl)
  if type(reply) == 'table' then
    return reply
  end
  op.after = { exact = reply }
end

function fixed_window.tell(op)
  return { op.after.exact or after(op.key, op.after.count) }
end
