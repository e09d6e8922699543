-- Removes a dead job. Its id may be pushed again.
-- KEYS: 1 dead set
-- ARGV: 1 prefix of the job hashes, 2 id
-- Returns: 1 if it was removed, 0 if no dead job has this id
--
-- One script, because the job may be retried between the check and the deletion.
if redis.call('ZREM', KEYS[1], ARGV[2]) == 0 then return 0 end
redis.call('DEL', ARGV[1] .. ARGV[2])
return 1
