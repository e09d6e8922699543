-- Decides about one request by an exact sliding window: the times of the requests that passed.
-- A time leaves the window at the age of one window. A rejected request is not recorded.
--
-- KEYS[1]  the client's list of times, oldest first, in microseconds of this server's clock
-- ARGV[1]  limit: requests per window
-- ARGV[2]  the window in milliseconds
--
-- Returns  { 1 if the request may pass, else 0,
--            requests that may still follow now,
--            milliseconds until the next counted request leaves the window }

local key, limit, window = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]) * 1000

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
-- Lua's own conversion keeps 14 digits; a time has 16.
local stamp = string.format('%.0f', now)

-- After the clock was set back, some times lie in the future and would count until the clock has caught up.
-- They are set to now instead: no client gains a request, or waits for longer than one window.
local newest = tonumber(redis.call('LINDEX', key, -1) or 0)
if newest > now then
    for index, time in ipairs(redis.call('LRANGE', key, 0, -1)) do
        if tonumber(time) > now then
            redis.call('LSET', key, index - 1, stamp)
        end
    end
end

local oldest = tonumber(redis.call('LINDEX', key, 0) or now)
while oldest <= now - window do
    redis.call('LPOP', key)
    oldest = tonumber(redis.call('LINDEX', key, 0) or now)
end

local count = redis.call('LLEN', key)
local allowed = count < limit
if allowed then
    redis.call('RPUSH', key, stamp)
    -- Expiry knows milliseconds only: one more, so that the list never goes before its last time has left.
    redis.call('PEXPIRE', key, ARGV[2] + 1)
    count = count + 1
elseif count > limit then
    -- The limit was lowered: room is made when the list has shrunk to less than the new one.
    oldest = tonumber(redis.call('LINDEX', key, count - limit) or now)
end

return { allowed and 1 or 0, math.max(limit - count, 0), math.ceil((oldest + window - now) / 1000) }
