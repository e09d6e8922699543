-- Adds :orders confirmed orders of two items each, to the stock of prepare.sql: order number n takes a unit of each of two products
-- in a store, so that each stock row has every 800th order.
begin;
create temporary table placed as
select nextval('orders_id_seq') as id, n, n % 8 + 1 as store_id, n / 8 % 100 + 1 as product_id
from generate_series(0, :orders::bigint - 1) n;
insert into orders (id, store_id, status, total_amount) overriding system value
select id, store_id, 'CONFIRMED', 2 from placed;
insert into order_item (order_id, product_id, quantity, unit_price)
select id, product_id + other, 1, 1 from placed, (values (0), (100)) as two (other);
insert into stock_movement (inventory_id, order_id, kind, delta, quantity_after)
select i.id, placed.id, 'ORDER', -1, i.quantity - n / 800 - 1
from placed, (values (0), (100)) as two (other), inventory i
where i.store_id = placed.store_id and i.product_id = placed.product_id + other
order by n;
insert into order_confirmation (order_id) select id from placed;
update inventory i set quantity = quantity - taken.units, ordered = true
from (select store_id, product_id + other as product_id, count(*) as units
      from placed, (values (0), (100)) as two (other) group by 1, 2) taken
where i.store_id = taken.store_id and i.product_id = taken.product_id;
commit;
