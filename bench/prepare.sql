-- Sets a stock that does not run out for 200 products in 8 stores, and adds the ledger rows.
update store set is_active = true where id <= 8;
update product set is_active = true where id <= 200;
insert into inventory (store_id, product_id)
select s.id, p.id from store s, product p where s.id <= 8 and p.id <= 200 on conflict do nothing;
with stocked as (
    update inventory set quantity = 1000000000 where store_id <= 8 and product_id <= 200 returning id
)
insert into stock_movement (inventory_id, kind, delta, quantity_after)
select id, 'ADJUSTMENT',
    1000000000 - coalesce((select sum(delta) from stock_movement m where m.inventory_id = stocked.id), 0), 1000000000
from stocked;
