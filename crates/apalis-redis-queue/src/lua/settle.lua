-- Records how runs of claimed jobs ended: done, to be retried, dead, or released without an attempt.
-- KEYS: 1 ready list, 2 delayed set, 3 lease set, 4 dead set, 5 done set
-- ARGV: 1 prefix of the job hashes, 2 wake-up channel, 3 first backoff in ms, 4 longest backoff in ms,
--       5 ms for which a done job is kept, then for each job: id, token of its claim, outcome, error
-- Returns: for each job 'done', 'retry', 'dead', 'returned', or 'lost' if another worker holds the
--          lease, so that the outcome was ignored
--
-- One script, because the lease could expire and the job be claimed again between the check of the
-- token and the move.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function settle(id, token, outcome, error)
  local key = ARGV[1] .. id
  local job = redis.call('HMGET', key, 'token', 'attempts', 'max_attempts')
  if job[1] ~= token then return 'lost' end
  redis.call('ZREM', KEYS[3], id)
  redis.call('HDEL', key, 'token')

  if outcome == 'done' then
    redis.call('HSET', key, 'state', 'done')
    redis.call('HDEL', key, 'payload', 'error')
    redis.call('PEXPIRE', key, ARGV[5])
    redis.call('ZADD', KEYS[5], now, id)
    redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now - ARGV[5])
    redis.call('PEXPIRE', KEYS[5], ARGV[5])
    return 'done'
  end
  if outcome == 'return' then
    redis.call('HINCRBY', key, 'attempts', -1)
    redis.call('HSET', key, 'state', 'queued')
    redis.call('RPUSH', KEYS[1], id)
    redis.call('PUBLISH', ARGV[2], '')
    return 'returned'
  end
  local attempts = tonumber(job[2])
  if outcome == 'dead' or attempts >= tonumber(job[3]) then
    redis.call('HSET', key, 'state', 'dead', 'error', error, 'died_at', now)
    redis.call('ZADD', KEYS[4], now, id)
    return 'dead'
  end
  local delay = math.min(tonumber(ARGV[3]) * 2 ^ (attempts - 1), tonumber(ARGV[4]))
  redis.call('HSET', key, 'state', 'queued', 'error', error)
  redis.call('ZADD', KEYS[2], now + math.floor(delay), id)
  return 'retry'
end

local outcomes = {}
for i = 6, #ARGV, 4 do
  outcomes[#outcomes + 1] = settle(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
end
return outcomes
