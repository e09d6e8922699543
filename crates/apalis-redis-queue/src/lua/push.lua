-- Enqueues jobs, each at most once.
-- KEYS: 1 ready list, 2 delayed set
-- ARGV: 1 prefix of the job hashes, 2 wake-up channel, 3 delay in ms, 4 max attempts,
--       then for each job: id, payload
-- Returns: for each job 1 if it was queued, 0 if its id was known already
--
-- One script, because otherwise two producers could both see an unknown id and queue the job twice.
local delay = tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local pushed, wake = {}, false
for i = 5, #ARGV, 2 do
  local id = ARGV[i]
  local key = ARGV[1] .. id
  if redis.call('EXISTS', key) == 1 then
    pushed[#pushed + 1] = 0
  else
    redis.call('HSET', key, 'state', 'queued', 'payload', ARGV[i + 1], 'attempts', 0, 'max_attempts', ARGV[4])
    if delay > 0 then
      redis.call('ZADD', KEYS[2], now + delay, id)
    else
      redis.call('LPUSH', KEYS[1], id)
      wake = true
    end
    pushed[#pushed + 1] = 1
  end
end
if wake then redis.call('PUBLISH', ARGV[2], '') end
return pushed
