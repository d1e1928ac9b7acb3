-- Sets of operations that take steps.

local KINDS = {}
local FELLOW = { err = 'ERR another counter of the set failed' }

-- Each algorithm is made when it is first needed.
local function kind(word)
  KINDS[word] = KINDS[word] or MAKE[word]()
  return KINDS[word]
end

local function read(key, of_several)
  local op = { key = key }
  if of_several then
    op.group, op.quota = take(), take() == '1'
  end
  op.kind = kind(take())
  op.action, op.ttl = take(), take()
  op.spends, op.rate = take() == '1', tonumber(take())
  op.since = op.action == 'undo' and tonumber(take())
  op.kind.read(op)
  return op
end

-- The counter of an operation as it is, or as those before it in the set have left it.
local function state_of(op, states)
  local state = states[op.key] or op.kind.load(op.key)
  states[op.key] = state
  return state
end

-- Where any hits alone would not fit, makes all others look only.
local function stop_when_over(set, states)
  local over = false
  for _, op in ipairs(set) do
    local state = state_of(op, states)
    if not state.err then
      local _, fits = op.kind.step(op, state)
      op.held, over = fits and op.action ~= 'give', over or not fits
    end
  end
  for _, op in ipairs(set) do
    op.held = over and op.held
    if op.held then
      op.kind.ask_for_nothing(op)
    end
  end
end

-- Takes all steps, each on what those before it left; tells whether there were errors.
local function try(set, states)
  local failed = false
  for _, op in ipairs(set) do
    local state = state_of(op, states)
    if state.err then
      op.error, failed = state, true
    else
      op.before = state
      op.after, op.admitted, op.spent = op.kind.step(op, state)
      op.spent = op.spent and not op.held
      states[op.key] = op.after
    end
  end
  return failed
end

-- Whether a limit group is over, or all of the quota groups are.
local function is_refused(set)
  local quota, over = false, {}
  for _, op in ipairs(set) do
    if not op.admitted and not op.quota then
      return true
    end
    quota = quota or op.quota
    over[op.group] = over[op.group] or not op.admitted
  end
  for _, op in ipairs(set) do
    if op.quota and not over[op.group] then
      return false
    end
  end
  return quota
end

-- Leaves every counter as it was.
local function undo(set)
  local held = {}
  for _, op in ipairs(set) do
    held[op.key] = held[op.key] or op.before
    op.before = held[op.key]
    op.after, op.spent = op.kind.look(op, op.before), false
    held[op.key] = op.after
  end
end

local function answer(op)
  local reply = op.kind.tell(op)
  table.insert(reply, 1, (op.admitted and 1 or 0) + (op.spent and 2 or 0))
  return reply
end

local function apply(set, stops)
  local states = {}
  if stops then
    stop_when_over(set, states)
  end
  local failed = try(set, states)
  if not failed and not stops and #set > 1 and is_refused(set) then
    undo(set)
  end
  local replies = {}
  for i, op in ipairs(set) do
    if not failed and op.after ~= op.before and op.after.exists then
      -- What was read may be written: if the first write succeeds, all do.
      op.error = op.kind.save(op)
      failed = op.error and op.error.err
      if op.action == 'give' or op.action == 'undo' then
        tell_given_back(op.key)
      end
    end
    replies[i] = not failed and answer(op)
  end
  for i, op in ipairs(set) do
    if failed then
      replies[i] = op.error and op.error.err and op.error or FELLOW
    end
  end
  return replies
end

-- Of a size below zero, the set stops when one is over.
return function(first, size)
  local set = {}
  for i = 1, math.abs(size) do
    set[i] = read(KEYS[first + i], size ~= 1)
  end
  return apply(set, size < 0)
end
