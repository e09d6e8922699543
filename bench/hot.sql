-- Like order.sql, for one unit of one product in one store.
with locked as materialized (
    select i.id, i.product_id, i.quantity, p.price
    from inventory i join product p on p.id = i.product_id
    where i.store_id = 1 and i.product_id = 1 for update of i
), judged as (
    select sum(price) as total from locked having count(*) = 1 and min(quantity) >= 1
), placed as (
    insert into orders (store_id, status, total_amount) select 1, 'CONFIRMED', total from judged returning id
), item as (
    insert into order_item (order_id, product_id, quantity, unit_price)
    select placed.id, product_id, 1, price from placed, locked
), movement as (
    insert into stock_movement (inventory_id, order_id, kind, delta, quantity_after)
    select locked.id, placed.id, 'ORDER', -1, locked.quantity - 1 from placed, locked
), owed as (
    insert into outbox (order_ids) select array[id] from placed
)
update inventory i set quantity = i.quantity - 1, ordered = true, updated_at = now()
from locked, placed where i.id = locked.id;
