-- Orders of two items: 8 stores, products drawn from 200. With DELAY, each client pauses for so many milliseconds on average.
-- With KEYS, each order has an Idempotency-Key that begins with it. API_KEY is shown, if there is one.
wrk.method = "POST"
wrk.path = "/api/orders/"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-API-Key"] = os.getenv("API_KEY")

function init()
   math.randomseed(1)
end

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
      math.random(1, 8), first, second))
end

local pause = tonumber(os.getenv("DELAY") or "0")

if pause > 0 then
   -- Pauses without memory: orders come at any moment, as they do from people.
   function delay()
      return math.floor(-math.log(1 - math.random()) * pause + 0.5)
   end
end
