-- The fixed window that looks before it counts. Its state is a count, kept as a sum is.

local fixed_window = {}

function fixed_window.read(op)
  op.amount = take()
  op.hits = tonumber(op.amount)
end

function fixed_window.ask_for_nothing(op)
  op.amount, op.hits = '0', 0
end

local function is_large(count)
  return count >= EXACT or count <= -EXACT
end

-- The count as a number. Where that is `large` it may be rounded, far beyond any limit, and
-- what is told of it is read again.
function fixed_window.load(key)
  local text = redis.pcall('GET', key)
  if type(text) == 'table' then
    return text
  end
  local digits = text == '0' and text or text and string.match(text, '^%-?([1-9]%d*)$')
  if text and not (digits and at_most(digits, '9223372036854775807')) then
    return { err = 'ERR value is not an integer or out of range' }
  end
  local count = tonumber(text or 0)
  return { count = count, large = is_large(count) }
end

function fixed_window.step(op, state)
  local next = { count = state.count + op.hits, exists = true }
  if op.action == 'give' then
    -- Of a rounded count nothing comes free within this set.
    local least = state.large and state.count or math.min(state.count, 0)
    next.count, next.large = math.max(state.count - op.hits, least), state.large
    return next, true, true
  end
  next.large = state.large or is_large(next.count)
  local admitted = next.count <= op.rate
  local spent = admitted or op.spends
  if not spent or op.hits == 0 then
    return state, admitted, spent
  end
  return next, admitted, spent
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
  op.after = { count = reply }
end

function fixed_window.tell(op)
  return { op.after.large and redis.pcall('GET', op.key) or op.after.count }
end

return fixed_window
