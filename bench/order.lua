-- Orders of two items, from 8 stores and 200 products at random. DELAY sets the average pause of a client in
-- milliseconds. STORE sets the only store. KEYS sets the prefix of an Idempotency-Key for each order. API_KEY sets the API key.
wrk.method = "POST"
wrk.path = "/api/orders/"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-API-Key"] = os.getenv("API_KEY")

function init()
   math.randomseed(1)
end

local store = os.getenv("STORE")
local keys, sent = os.getenv("KEYS"), 0

function request()
   if keys then
      sent = sent + 1
      wrk.headers["Idempotency-Key"] = keys .. "-" .. sent
   end
   local first = math.random(1, 100)
   local second = first + math.random(1, 100)
   return wrk.format(nil, nil, nil, string.format(
      '{"store_id":%d,"items":[{"product_id":%d,"quantity":1},{"product_id":%d,"quantity":1}]}',
      store or math.random(1, 8), first, second))
end

local pause = tonumber(os.getenv("DELAY") or "0")

if pause > 0 then
   -- Exponentially distributed pauses, so that orders arrive as a Poisson process.
   function delay()
      return math.floor(-math.log(1 - math.random()) * pause + 0.5)
   end
end

function done(_, latency)
   print(string.format("p99.9: %.1f", latency:percentile(99.9) / 1000))
end
