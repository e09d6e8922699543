-- Asks for one path again and again; `{product}` and the like become ids by chance, as many as the variables say.
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
