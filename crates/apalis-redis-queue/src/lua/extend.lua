-- Renews leases.
-- KEYS: 1 lease set
-- ARGV: 1 prefix of the job hashes, 2 lease in ms, then for each job: id, token of its claim
-- Returns: for each job 1 if its lease was renewed, 0 if it is lost
--
-- One script, because a lease may only be renewed by the claim that holds it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local renewed = {}
for i = 3, #ARGV, 2 do
  local held = redis.call('HGET', ARGV[1] .. ARGV[i], 'token') == ARGV[i + 1]
  if held then redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[i]) end
  renewed[#renewed + 1] = held and 1 or 0
end
return renewed
