-- States of three numbers, which stay below 2^53, and a product that does not.

-- (factor * times + plus) / by, rounded down, and the remainder.
-- With times, plus and by below 2^48 no intermediate reaches 2^53: the factor goes in by
-- digits of four bits, as in long division. A quotient beyond 2^53 comes out rounded.
local function muldiv(factor, times, plus, by)
  local product = factor * times + plus
  if product < EXACT then
    local rest = math.fmod(product, by)
    return (product - rest) / by, rest
  end
  local digit = 1
  while digit * 16 <= factor do
    digit = digit * 16
  end
  local quotient, rest = 0, 0
  while digit >= 1 do
    local lower = math.fmod(factor, digit)
    local sum = rest * 16 + (factor - lower) / digit * times
    if digit == 1 then
      sum = sum + plus
    end
    rest = math.fmod(sum, by)
    quotient = quotient * 16 + (sum - rest) / by
    factor, digit = lower, digit / 16
  end
  return quotient, rest
end

-- A state of three numbers, or the error of its key. A state that was read or is to be
-- written `exists`.
local function load_state(key)
  local text = redis.pcall('GET', key)
  if not text then
    return { at = 0, count = 0, previous = 0 }
  elseif type(text) == 'table' then
    return text
  end
  local at, count, previous = string.match(text, '^(%d+) (%d+) (%d+)$')
  at, count, previous = tonumber(at), tonumber(count), tonumber(previous)
  if not at or at >= EXACT or count >= EXACT or previous >= EXACT then
    return { err = 'ERR the value is not a counter' }
  end
  return { at = at, count = count, previous = previous, exists = true }
end

local function save_state(key, state, ttl)
  local text = string.format('%.0f %.0f %.0f', state.at, state.count, state.previous)
  return redis.pcall('SET', key, text, 'EX', string.format('%.0f', ttl))
end

local function tell_state(state)
  return { state.at, state.count, state.previous }
end
