-- Makes a dead job ready again, with all its attempts.
-- KEYS: 1 ready list, 2 dead set
-- ARGV: 1 prefix of the job hashes, 2 wake-up channel, 3 id
-- Returns: 1 if it was revived, 0 if no dead job has this id
--
-- One script, because two concurrent retries must not queue the job twice.
local key = ARGV[1] .. ARGV[3]
if redis.call('ZREM', KEYS[2], ARGV[3]) == 0 or redis.call('EXISTS', key) == 0 then return 0 end
redis.call('HSET', key, 'state', 'queued', 'attempts', 0)
redis.call('HDEL', key, 'error', 'died_at')
redis.call('LPUSH', KEYS[1], ARGV[3])
redis.call('PUBLISH', ARGV[2], '')
return 1
