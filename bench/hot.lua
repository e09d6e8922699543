-- Orders of one unit of the same product in the same store.
wrk.method = "POST"
wrk.path = "/api/orders/"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"store_id":1,"items":[{"product_id":1,"quantity":1}]}'
