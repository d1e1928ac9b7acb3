-- Applies one call, set by set.
--   KEYS[i]   the counter of operation i, or of several that add a sum together
--   ARGV[1]   now in microseconds, or nothing: the clock of this server
--   then for each set, its operations being the next of KEYS, either
--     f AMOUNT TTL                      what needs no step: a sum, below zero to give back
--   or the number of its operations, below zero if it stops when one is over, and for each
--     [GROUP QUOTA]                     only in a set of several; QUOTA is 1 or 0
--     KIND ACTION TTL SPENDS RATE ...   w, s or b; spend, never, give or undo; SPENDS is 1
--                                       or 0; then SINCE, only to undo, in microseconds;
--                                       and what its kind reads
-- Replies with the moment used, 0 if none was, then one element per key: the value after, if
-- it needed no step, or a list of the value before if that and the sum are too much for a
-- counter; or 1 if its hits fit plus 2 if they were spent, followed by the state; or an
-- error.

local replies = { 0 }
local done = 0
local apply_set
while done < #KEYS do
  local word = take()
  if word == 'f' then
    done = done + 1
    replies[done + 1] = count_always(KEYS[done], take(), take())
  else
    -- Most batches hold sums alone, and do not pay for what is in there.
    apply_set = apply_set or steps()
    for _, reply in ipairs(apply_set(done, tonumber(word))) do
      done = done + 1
      replies[done + 1] = reply
    end
  end
end
replies[1] = now or 0
return replies
