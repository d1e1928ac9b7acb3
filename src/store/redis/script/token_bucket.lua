-- The token bucket: `at` is the microsecond in which it is full again, `count` the
-- fraction beside it in units of 1 / `previous`, and `previous` the rate that it was
-- computed with. Refills come as such spans, computed by the caller.

local token_bucket = { load = load_state, tell = function(op) return tell_state(op.after) end }

local function span(micros, fraction)
  return { micros = micros, fraction = fraction }
end

local function at_most_span(a, b)
  return a.micros < b.micros or (a.micros == b.micros and a.fraction <= b.fraction)
end

local function longer(a, b)
  return at_most_span(a, b) and b or a
end

local function is_zero(a)
  return a.micros == 0 and a.fraction == 0
end

local function plus(a, b, rate)
  local fraction = a.fraction + b.fraction
  local carry = fraction >= rate and 1 or 0
  return span(a.micros + b.micros + carry, fraction - carry * rate)
end

local function minus(a, b, rate)
  if at_most_span(a, b) then
    return span(0, 0)
  end
  local borrow = a.fraction < b.fraction and 1 or 0
  return span(a.micros - b.micros - borrow, a.fraction + borrow * rate - b.fraction)
end

function token_bucket.read(op)
  op.refill = span(tonumber(take()), tonumber(take()))
  op.full = span(tonumber(take()), tonumber(take()))
  op.rate = math.max(op.rate, 1)
end

function token_bucket.ask_for_nothing(op)
  op.refill = span(0, 0)
end

-- How long until the bucket is full again.
local function debt(op, state)
  local micros = state.at - moment()
  if micros < 0 then
    return span(0, 0)
  elseif state.previous == op.rate then
    return span(micros, state.count)
  end
  local taken = span(muldiv(micros, state.previous, state.count, op.rate))
  return at_most_span(taken, op.full) and taken or op.full
end

local function with(op, owed, exists)
  return {
    at = moment() + owed.micros,
    count = owed.fraction,
    previous = op.rate,
    exists = exists,
  }
end

-- The state at the rate of now: tokens come back at a new rate from its first operation on.
function token_bucket.look(op, state)
  if is_zero(op.full) or state.previous == op.rate or state.at < moment() then
    return state
  end
  return with(op, debt(op, state), state.exists)
end

function token_bucket.step(op, state)
  if is_zero(op.full) then
    local admitted = op.action ~= 'never'
    return state, admitted, admitted or op.spends
  end
  local owed = debt(op, state)
  if op.action == 'give' then
    return with(op, minus(owed, op.refill, op.rate), state.exists), true, true
  end
  if op.action == 'undo' then
    local passed = span(math.max(moment() - op.since, 0), 0)
    local left = minus(op.refill, passed, op.rate)
    return with(op, minus(owed, left, op.rate), state.exists), true, true
  end
  local sum = plus(owed, op.refill, op.rate)
  local admitted = op.action == 'spend' and at_most_span(sum, op.full)
  local spent = admitted or op.spends
  if not spent or is_zero(op.refill) then
    return token_bucket.look(op, state), admitted, spent
  end
  return with(op, admitted and sum or longer(owed, op.full), true), admitted, spent
end

function token_bucket.save(op)
  local full_in = math.max(op.after.at - moment(), 0) / MICROS
  return save_state(op.key, op.after, op.ttl + math.ceil(full_in))
end

return token_bucket
