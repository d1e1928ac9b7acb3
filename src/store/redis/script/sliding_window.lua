-- The sliding window: `at` is the second in which the counted window starts, `count` its
-- hits, `previous` those of the window before.

local sliding_window = { load = load_state, tell = function(op) return tell_state(op.after) end }

function sliding_window.read(op)
  op.hits, op.window = tonumber(take()), tonumber(take())
end

function sliding_window.ask_for_nothing(op)
  op.hits = 0
end

-- The second in which the window around a moment starts.
local function start_of(op, micros)
  local secs = (micros - math.fmod(micros, MICROS)) / MICROS
  return secs - math.fmod(secs, op.window)
end

-- The state in the window around now.
function sliding_window.look(op, state)
  local start = start_of(op, moment())
  if start <= state.at then
    return state
  end
  local follows = start - state.at == op.window
  return {
    at = start,
    count = 0,
    previous = follows and state.count or 0,
    exists = state.exists,
  }
end

-- The part of the older hits that still counts.
local function weighted(op, state)
  local window = op.window * MICROS
  local elapsed = math.min(math.max(moment() - state.at * MICROS, 0), window - 1)
  return (muldiv(math.min(state.previous, 4294967295), window - elapsed - 1, 0, window))
end

function sliding_window.step(op, state)
  state = sliding_window.look(op, state)
  local next = { at = state.at, previous = state.previous, exists = state.exists }
  if op.action == 'give' then
    local beyond = math.max(op.hits - state.count, 0)
    next.count = math.max(state.count - op.hits, 0)
    next.previous = math.max(state.previous - beyond, 0)
    return next, true, true
  end
  if op.action == 'undo' then
    local start = start_of(op, op.since)
    next.count = state.count
    if start == state.at then
      next.count = math.max(state.count - op.hits, 0)
    elseif start + op.window == state.at then
      next.previous = math.max(state.previous - op.hits, 0)
    end
    return next, true, true
  end
  next.count = math.min(state.count + op.hits, EXACT - 1)
  local admitted = next.count + weighted(op, state) <= op.rate
  local spent = admitted or op.spends
  if not spent or op.hits == 0 then
    return state, admitted, spent
  end
  next.exists = true
  return next, admitted, spent
end

function sliding_window.save(op)
  local ahead = math.max(op.after.at * MICROS - moment(), 0) / MICROS
  return save_state(op.key, op.after, op.ttl + math.ceil(ahead))
end

return sliding_window
