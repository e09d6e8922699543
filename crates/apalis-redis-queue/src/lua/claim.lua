-- Claims jobs for a worker, under a lease.
-- KEYS: 1 ready list, 2 delayed set, 3 lease set, 4 dead set, 5 receipt list of this worker
-- ARGV: 1 prefix of the job hashes, 2 worker, 3 number of this claim, 4 lease in ms, 5 jobs wanted
-- Returns: for each job {id, payload, attempt, max attempts}
--
-- One script, because a job must always be in exactly one of the lists and sets, and because a
-- repeated claim must get the same answer. A worker whose claim got no answer repeats it with the
-- same number and gets the same jobs, so that a stall of Redis costs no attempt. A number below the
-- receipt's belongs to an old claim that arrives late.
local prefix, claim, lease, wanted = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local token = ARGV[2] .. ':' .. ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local receipt = redis.call('LRANGE', KEYS[5], 0, -1)
if receipt[1] and tonumber(receipt[1]) >= claim then
  local again = {}
  for i = 2, tonumber(receipt[1]) == claim and #receipt or 1 do
    local job = redis.call('HMGET', prefix .. receipt[i], 'payload', 'attempts', 'max_attempts', 'token')
    if job[4] == token then
      redis.call('ZADD', KEYS[3], now + lease, receipt[i])
      again[#again + 1] = {receipt[i], job[1], job[2], job[3]}
    end
  end
  return again
end
if wanted == 0 then return {} end

-- Both sweeps are limited: a script blocks Redis, and Lua unpacks at most about 8,000 values.
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)
if #due > 0 then
  redis.call('ZREM', KEYS[2], unpack(due))
  redis.call('LPUSH', KEYS[1], unpack(due))
end

-- Expired leases: the worker crashed, hangs, or lost its connection. The attempt counts.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[3], id)
  local key = prefix .. id
  local job = redis.call('HMGET', key, 'state', 'attempts', 'max_attempts')
  if job[1] == 'running' then
    redis.call('HDEL', key, 'token')
    if tonumber(job[2]) >= tonumber(job[3]) then
      redis.call('HSET', key, 'state', 'dead', 'error', 'the lease ran out: the worker crashed or hung', 'died_at', now)
      redis.call('ZADD', KEYS[4], now, id)
    else
      redis.call('HSET', key, 'state', 'queued')
      redis.call('RPUSH', KEYS[1], id)
    end
  end
end

-- Ids without a job (evicted, or deleted by hand) are dropped.
local claimed, ids = {}, {}
for _ = 1, wanted + 1000 do
  if #claimed == wanted then break end
  local id = redis.call('RPOP', KEYS[1])
  if not id then break end
  local key = prefix .. id
  local job = redis.call('HMGET', key, 'state', 'payload', 'max_attempts')
  if job[1] == 'queued' then
    local attempt = redis.call('HINCRBY', key, 'attempts', 1)
    redis.call('HSET', key, 'state', 'running', 'token', token)
    redis.call('ZADD', KEYS[3], now + lease, id)
    ids[#ids + 1] = id
    claimed[#claimed + 1] = {id, job[2], attempt, job[3]}
  end
end

if #ids > 0 then
  redis.call('DEL', KEYS[5])
  redis.call('RPUSH', KEYS[5], claim)
  for _, id in ipairs(ids) do redis.call('RPUSH', KEYS[5], id) end
  redis.call('PEXPIRE', KEYS[5], 2 * lease)
end
return claimed
