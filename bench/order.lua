-- Orders of two items: 8 stores, products drawn from 200.
wrk.method = "POST"
wrk.path = "/api/orders/"
wrk.headers["Content-Type"] = "application/json"

function init()
   math.randomseed(1)
end

function request()
   local first = math.random(1, 100)
   local second = first + math.random(1, 100)
   return wrk.format(nil, nil, nil, string.format(
      '{"store_id":%d,"items":[{"product_id":%d,"quantity":1},{"product_id":%d,"quantity":1}]}',
      math.random(1, 8), first, second))
end
