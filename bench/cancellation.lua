-- Cancellations of one unit of one of ORDERS orders at random, each with one item of the same id.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"

local orders = tonumber(os.getenv("ORDERS"))

function init()
   math.randomseed(1)
end

function request()
   local order = math.random(1, orders)
   return wrk.format(nil, string.format("/api/orders/%d/cancellations/", order), nil, string.format(
      '{"items":[{"order_item_id":%d,"quantity":1}],"reason":"Bench"}', order))
end
