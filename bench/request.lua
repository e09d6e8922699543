-- Repeats a GET of one path. Replaces `{product}`, `{store}`, `{row}` and `{order}` by random ids, up to the numbers in
-- the variables.
local path = os.getenv("REQUEST")
local most = {
   product = tonumber(os.getenv("PRODUCTS")),
   store = tonumber(os.getenv("STORES")),
   row = tonumber(os.getenv("ROWS")),
   order = tonumber(os.getenv("ORDERS")),
}

function init()
   math.randomseed(1)
end

function request()
   local chosen = path:gsub("{(%a+)}", function(kind) return tostring(math.random(1, most[kind])) end)
   return wrk.format("GET", chosen)
end
