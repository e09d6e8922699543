-- The statements of Afforo for one cancellation of one unit, one after the other, with the number of orders in :orders.
\set order random(1, :orders)
begin;
select i.id as item, i.product_id as product, o.store_id as store from order_item i join orders o on o.id = i.order_id
where i.order_id = :order \gset
select from orders where id = :order for no key update;
with wanted as (
    select i.id from unnest(array[:store]::bigint[], array[:product]::bigint[]) as pair (store_id, product_id)
        join inventory i on i.store_id = pair.store_id and i.product_id = pair.product_id
)
select i.id as row, i.quantity as quantity from wanted join inventory i on i.id = wanted.id
order by i.store_id, i.product_id for update of i \gset
select (select nextval('order_document_id_seq')) as document,
    exists (select from completed_upgrade where name = 'order_documents') as is_upgraded, i.unit_price as price
from orders o join order_item i on i.order_id = o.id
    left join order_line_progress g on g.order_id = i.order_id and g.item_id = i.id
where o.id = :order order by i.id \gset
with change as (
    select i.id, i.quantity as before, i.quantity + 1 as after, greatest(statement_timestamp(), i.updated_at) as at
    from inventory i where i.id = :row
), changed as (
    update inventory set quantity = c.after, updated_at = c.at from change c where inventory.id = c.id
)
insert into stock_movement (inventory_id, kind, delta, quantity_after, reason, order_id, reference_type, reference_id, created_at)
select id, 'CANCEL', 1, after, 'Bench', :order, 'CANCELLATION', :document, at from change returning id;
with document as (
    insert into order_document (id, order_id, kind, items, reason, refund_amount)
    overriding system value values (:document, :order, 'CANCELLATION', json_build_array(json_build_object(
        'order_item_id', :item::bigint, 'product_id', :product::bigint, 'quantity', 1, 'restocked', 1,
        'refund_amount', :price::text)), 'Bench', :price) returning created_at
), progressed as (
    insert into order_line_progress as line (order_id, item_id, quantity, cancelled, restocked)
    select order_id, id, quantity, 1, 1 from order_item where order_id = :order
    on conflict (order_id, item_id) do update set cancelled = line.cancelled + 1, restocked = line.restocked + 1
), changed as (
    update orders set version = coalesce(version, 1) + 1, refunded_amount = coalesce(refunded_amount, 0) + :price,
        updated_at = greatest(statement_timestamp(), updated_at)
    where id = :order
)
select created_at from document;
select o.*, s.name, s.location from orders o join store s on s.id = o.store_id where o.id = :order;
select i.*, p.title, p.price, g.cancelled, g.fulfilled, g.returned, g.restocked
from order_item i join product p on p.id = i.product_id
    left join order_line_progress g on g.order_id = i.order_id and g.item_id = i.id
where i.order_id = :order order by i.id;
insert into audit_log (action, subject, after)
values ('order.cancelled', 'order:' || :order::bigint, json_build_object('document', :document::bigint, 'reason', 'Bench'));
commit;
